//! The audit log's rows.

use funaya_ports::audit::Batch;
use funaya_types::Timestamp;

use crate::world::{World, registry};

contract!(a_batch_is_added_once, pages_in_order_of_time, pruned_by_age, committed_with_the_change);

fn batch(world: &World, secs: i64, id: &str) -> Batch {
    let body = format!("{{\"id\":\"{id}\"}}");
    Batch { registry: world.registry.clone(), at: Timestamp::from_secs(secs), id: id.into(), body }
}

async fn ids(world: &World) -> Vec<String> {
    let rows = world.store.audit((0, String::new()), 1000).await.unwrap();
    rows.into_iter().map(|(_, (_, id), _)| id).collect()
}

async fn a_batch_is_added_once(world: World) {
    let rows = vec![batch(&world, 1, "a"), batch(&world, 2, "b")];
    world.store.append_audit(rows.clone()).await.unwrap();
    world.store.append_audit(rows).await.unwrap();
    world.store.append_audit(Vec::new()).await.unwrap();
    assert_eq!(ids(&world).await, ["a", "b"]);
}

async fn pages_in_order_of_time(world: World) {
    let mut elsewhere = batch(&world, 2, "e");
    elsewhere.registry = registry("eu-west-1");
    let rows = vec![batch(&world, 3, "a"), batch(&world, 1, "d"), batch(&world, 2, "c"), elsewhere.clone()];
    world.store.append_audit(rows).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), (0, String::new()));
    while let Some((from, place, body)) = world.store.audit(after, 1).await.unwrap().pop() {
        assert_eq!(body, format!("{{\"id\":\"{}\"}}", place.1));
        assert_eq!(from == elsewhere.registry, place.1 == "e");
        seen.push(place.1.clone());
        after = place;
    }
    assert_eq!(seen, ["d", "c", "e", "a"]);
}

async fn pruned_by_age(world: World) {
    world.store.append_audit((1..=5).map(|n| batch(&world, n, &n.to_string())).collect()).await.unwrap();
    let before = Timestamp::from_secs(4);
    assert_eq!(world.store.prune_audit(before, 2).await.unwrap(), 2);
    assert_eq!(ids(&world).await, ["3", "4", "5"]);
    assert_eq!(world.store.prune_audit(before, 2).await.unwrap(), 1);
    assert_eq!(world.store.prune_audit(before, 2).await.unwrap(), 0);
    assert_eq!(ids(&world).await, ["4", "5"]);
}

/// D8: no change without its record, no record without its change.
async fn committed_with_the_change(world: World) {
    world.create("app").await;
    assert_eq!(ids(&world).await.len(), 1);
    world.store.create_repository(world.new_repository("app")).await.unwrap_err();
    world.put("app", crate::world::digest(2), &[crate::world::digest(1)], &[]).await.unwrap_err();
    assert_eq!(ids(&world).await.len(), 1);
    world.push("app", 1, &["v"]).await;
    world.mount("app", "app", crate::world::digest(1)).await.unwrap();
    world.delete("app", "v").await.unwrap();
    world.delete_layer("app", crate::world::digest(1)).await.unwrap();
    world.delete_repository("app", false).await.unwrap();
    // Upload opened and completed, image, mount, image and layer deleted, repository.
    assert_eq!(ids(&world).await.len(), 8);
}

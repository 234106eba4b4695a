//! Expiry by lifecycle policies.

use std::sync::Arc;

use funaya_ports::lifecycle::{Candidate, Expire, Expired};

use crate::world::{SECOND, World, name, tag};

contract!(
    what_was_judged_expires,
    what_changed_meanwhile_stays,
    nothing_expires_by_a_policy_that_is_gone,
    a_new_policy_is_due_whatever_became_of_the_old_one,
);

async fn set(world: &World, text: Option<&str>) {
    let text = text.map(str::to_owned);
    world.lifecycle.set_lifecycle(&world.registry, &name("app"), text, world.audit()).await.unwrap();
}

async fn candidates(world: &World) -> Vec<Candidate> {
    world.lifecycle.candidates(&world.registry, &name("app")).await.unwrap()
}

async fn expire(world: &World, policy: &str, images: Vec<Candidate>) -> Vec<Expired> {
    let command = Expire {
        registry: world.registry.clone(),
        repository: name("app"),
        policy: policy.into(),
        images,
        now: world.now(),
        purge_at: world.now().plus(world.spans.undo),
        audit: Arc::new(|_| None),
    };
    world.lifecycle.expire(command).await.unwrap()
}

async fn note(world: &World, policy: &str) {
    world.lifecycle.note_lifecycle(&world.registry, &name("app"), policy, world.now()).await.unwrap();
}

async fn due(world: &World) -> Vec<String> {
    let due = world.lifecycle.due_lifecycles(world.now().minus(SECOND), 100).await.unwrap();
    due.into_iter().map(|due| due.text).collect()
}

async fn what_was_judged_expires(world: World) {
    world.create("app").await;
    set(&world, Some("one")).await;
    let image = world.push("app", 1, &["a", "b"]).await;
    world.clock.advance(SECOND);
    let other = world.push("app", 2, &["c"]).await;
    let judged = candidates(&world).await;
    let gone = expire(&world, "one", judged[..1].to_vec()).await;
    let (tags, pushed_at) = (vec![tag("a"), tag("b")], judged[0].pushed_at);
    assert_eq!(gone, [Expired::Gone { digest: image, tags, pushed_at }]);
    assert_eq!(world.all_images("app").await, [other]);
    world.check().await;
}

/// LIFE-40
async fn what_changed_meanwhile_stays(world: World) {
    world.create("app").await;
    set(&world, Some("one")).await;
    let image = world.push("app", 1, &["a"]).await;
    let judged = candidates(&world).await;
    world.push("app", 2, &["a"]).await;
    assert_eq!(expire(&world, "one", judged[..1].to_vec()).await, [Expired::Changed]);
    assert!(world.all_images("app").await.contains(&image));
    world.check().await;
}

async fn nothing_expires_by_a_policy_that_is_gone(world: World) {
    world.create("app").await;
    world.push("app", 1, &["a"]).await;
    world.push("app", 2, &[]).await;
    let before = world.all_images("app").await;
    for now in [None, Some("two")] {
        set(&world, Some("one")).await;
        let judged = candidates(&world).await;
        set(&world, now).await;
        assert_eq!(expire(&world, "one", judged).await, [Expired::Changed, Expired::Changed]);
        assert_eq!(world.all_images("app").await, before);
    }
    world.check().await;
}

async fn a_new_policy_is_due_whatever_became_of_the_old_one(world: World) {
    world.create("app").await;
    set(&world, Some("one")).await;
    assert_eq!(due(&world).await, ["one"]);
    note(&world, "one").await;
    assert!(due(&world).await.is_empty());
    set(&world, Some("two")).await;
    note(&world, "one").await;
    assert_eq!(due(&world).await, ["two"]);
    note(&world, "two").await;
    assert!(due(&world).await.is_empty());
}

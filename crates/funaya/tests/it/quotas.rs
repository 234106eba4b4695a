//! Quotas of a registry (14-quotas-and-throttling).

use funaya_testkit::Client;
use serde_json::json;

use crate::House;

const REPOSITORIES_MAX: usize = 10_000;
const WRITERS: usize = 8;

/// QUOTA-01, REPO-06: the 10,001st repository is refused, and a deleted one makes room.
#[test]
fn a_registry_holds_ten_thousand_repositories() {
    let house = House::new("repositories", &[]);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = Client::new(&house.server.url).unwrap();
            scope.spawn(move || {
                for number in (writer..REPOSITORIES_MAX).step_by(WRITERS) {
                    let input = json!({"repositoryName": format!("team/r{number}")});
                    let (status, answer) = client.ecr("CreateRepository", &input).unwrap();
                    assert_eq!(status, 200, "{answer}");
                }
            });
        }
    });
    let one_more = json!({"repositoryName": "team/more"});
    let (status, answer) = house.client.ecr("CreateRepository", &one_more).unwrap();
    assert_eq!((status, answer["__type"].as_str()), (400, Some("LimitExceededException")), "{answer}");
    assert_eq!(house.client.ecr("DeleteRepository", &json!({"repositoryName": "team/r7"})).unwrap().0, 200);
    assert_eq!(house.client.ecr("CreateRepository", &one_more).unwrap().0, 200);
}

//! Lifecycle policies (06-lifecycle-policies).

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use funaya_rules::lifecycle::{Image, LifecyclePolicy, Limit, Rule, Selection};
use funaya_testkit::Dice;
use funaya_types::{Timestamp, Wildcard};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    Timestamp::from_secs(1_700_000_000)
}

fn days_ago(days: u64) -> Timestamp {
    now().minus(DAY * u32::try_from(days).unwrap())
}

fn image(tags: Vec<String>, pushed_at: Timestamp) -> Image<Vec<String>> {
    Image { tags, pushed_at, pulled_at: None }
}

/// LIFE-50 to LIFE-57: the guide's worked examples give exactly their results.
#[test]
fn worked_examples() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../lifecycle.json")).unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let policy = LifecyclePolicy::parse(&case["policy"].to_string()).unwrap();
        let listed = case["images"].as_array().unwrap();
        let images: Vec<_> = listed
            .iter()
            .map(|listed| {
                let tags = listed["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().into()).collect();
                image(tags, days_ago(listed["days"].as_u64().unwrap()))
            })
            .collect();
        let expired: String = policy
            .evaluate(&images, now())
            .iter()
            .map(|marked| listed[marked.index]["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(expired, case["expired"].as_str().unwrap(), "{}", case["id"]);
    }
}

/// LIFE-36: exactly as old as the limit is not older.
#[test]
fn a_day_is_a_day() {
    let policy = parse(&[rule(1, json!({"tagStatus": "any"}), "sinceImagePushed", 1)]).unwrap();
    let second = Duration::from_secs(1);
    let images = [days_ago(1).minus(second), days_ago(1), days_ago(1).plus(second)].map(|at| image(vec![], at));
    assert_eq!(policy.evaluate(&images, now()).iter().map(|marked| marked.index).collect::<Vec<_>>(), [0]);
}

/// `sinceImagePulled` counts from the last pull, or from the push if there was none since.
#[test]
fn pulled_images_live_on() {
    let policy = parse(&[rule(1, json!({"tagStatus": "any"}), "sinceImagePulled", 10)]).unwrap();
    let pulled =
        |pushed, pulled: Option<u64>| Image { pulled_at: pulled.map(days_ago), ..image(vec![], days_ago(pushed)) };
    let images = [pulled(30, None), pulled(30, Some(11)), pulled(30, Some(9)), pulled(5, None), pulled(5, Some(20))];
    assert_eq!(policy.evaluate(&images, now()).iter().map(|marked| marked.index).collect::<Vec<_>>(), [0, 1]);
}

fn rule(priority: u64, tags: Value, count_type: &str, number: u64) -> Value {
    let mut selection = tags;
    selection["countType"] = json!(count_type);
    selection["countNumber"] = json!(number);
    if count_type != "imageCountMoreThan" {
        selection["countUnit"] = json!("days");
    }
    json!({"rulePriority": priority, "selection": selection, "action": {"type": "expire"}})
}

fn parse(rules: &[Value]) -> Result<LifecyclePolicy, String> {
    LifecyclePolicy::parse(&json!({"rules": rules}).to_string()).map_err(|bad| bad.to_string())
}

/// LIFE-10 to LIFE-24: each fault has its reason.
#[test]
fn bad_policies_are_refused() {
    let good = || rule(1, json!({"tagStatus": "untagged"}), "imageCountMoreThan", 1);
    let with = |pointer: &str, value: Value| {
        let mut rule = good();
        match rule.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                rule.pointer_mut(parent).unwrap()[name] = value;
            }
        }
        json!({"rules": [rule]})
    };
    let without = |pointer: &str| {
        let mut rule = good();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        rule.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        json!({"rules": [rule]})
    };
    let any = |priority| rule(priority, json!({"tagStatus": "any"}), "imageCountMoreThan", 1);
    let tagged = |priority, list: Value| {
        rule(priority, json!({"tagStatus": "tagged", "tagPrefixList": list}), "imageCountMoreThan", 1)
    };
    let schema = "instance failed to match exactly one schema (matched 0 out of 2)";
    let cases = [
        (json!([]), "Could not map policyString into LifecyclePolicy."),
        (json!({}), r#"object has missing required properties (["rules"])"#),
        (json!({"rules": [], "x": 1}), r#"properties which are not allowed by the schema: (["x"])"#),
        (json!({"rules": []}), "array is too short"),
        (json!({"rules": {}}), "instance type (object) does not match"),
        (json!({"rules": vec![good(); 51]}), "must have at most 50 elements but instance has 51 elements"),
        (json!({"rules": [1]}), "instance type (integer) does not match"),
        (without("/rulePriority"), r#"missing required properties (["rulePriority"])"#),
        (without("/selection/countNumber"), r#"missing required properties (["countNumber"])"#),
        (with("/surprise", json!(1)), r#"not allowed by the schema: (["surprise"])"#),
        (with("/selection/surprise", json!(1)), r#"not allowed by the schema: (["surprise"])"#),
        (with("/action/surprise", json!(1)), r#"not allowed by the schema: (["surprise"])"#),
        (with("/description", json!(7)), "instance type (integer) does not match"),
        (with("/rulePriority", json!(0)), "(minimum: 1, found: 0)"),
        (with("/rulePriority", json!(-3)), "(minimum: 1, found: -3)"),
        (
            with("/rulePriority", json!("1")),
            r#"(string) does not match any allowed primitive type (allowed: ["integer"])"#,
        ),
        (with("/rulePriority", json!(1.5)), "instance type (number) does not match"),
        (with("/selection/countNumber", json!(0)), "(minimum: 1, found: 0)"),
        (
            with("/action/type", json!("archive")),
            r#"instance value ("archive") not found in enum :(possible values: ["expire"])"#,
        ),
        (with("/action/type", json!("transition")), "not found in enum"),
        (with("/selection/countType", json!("sinceImageTransitioned")), "not found in enum"),
        (with("/selection/storageClass", json!("archive")), r#"not allowed by the schema: (["storageClass"])"#),
        (with("/selection/tagStatus", json!("none")), "not found in enum"),
        (with("/selection/tagPrefixList", json!(["a"])), schema),
        (with("/selection/countUnit", json!("days")), schema),
        (with("/selection/countType", json!("sinceImagePushed")), schema),
        (json!({"rules": [tagged(1, json!([]))]}), schema),
        (json!({"rules": [tagged(1, json!("a"))]}), "instance type (string) does not match"),
        (json!({"rules": [tagged(1, json!([1]))]}), "instance type (integer) does not match"),
        (json!({"rules": [good(), good()]}), "rulePriority must be unique"),
        (
            json!({"rules": [good(), rule(2, json!({"tagStatus": "untagged"}), "sinceImagePushed", 1)]}),
            "only one rule may select untagged images",
        ),
        (json!({"rules": [any(1), tagged(2, json!(["a"]))]}), "must have the highest rulePriority"),
        (json!({"rules": [any(1), any(2)]}), "must have the highest rulePriority"),
        (json!({"rules": [tagged(1, json!(["a", "b"])), tagged(2, json!(["b", "a"]))]}), "the same tagPrefixList"),
        (
            json!({"rules": [rule(1, json!({"tagStatus": "tagged", "tagPatternList": ["a*b*c*d*e*"]}),
                "imageCountMoreThan", 1)]}),
            "more than 4 wildcards",
        ),
        (
            json!({"rules": [rule(1, json!({"tagStatus": "tagged", "tagPatternList": ["a*"], "tagPrefixList": ["a"]}),
                "imageCountMoreThan", 1)]}),
            schema,
        ),
    ];
    for (policy, reason) in cases {
        let refused = LifecyclePolicy::parse(&policy.to_string()).expect_err(&policy.to_string()).to_string();
        assert!(refused.starts_with("Lifecycle policy validation failure: "), "{refused}");
        assert!(refused.contains(reason), "{policy}: {refused}");
    }
    assert!(LifecyclePolicy::parse("{").unwrap_err().to_string().contains("Could not map policyString"));
    // LIFE-22: sets that only overlap are fine.
    parse(&[tagged(1, json!(["alpha"])), tagged(2, json!(["alpha", "beta"])), good_at(3), any(4)]).unwrap();
}

fn good_at(priority: u64) -> Value {
    rule(priority, json!({"tagStatus": "untagged"}), "imageCountMoreThan", 1)
}

/// The oracle: an image expires by the first rule that sees it, if it is a victim of that rule
/// among all that the rule sees (LIFE-30, LIFE-31). No set, no sorting, no sharing with the code.
fn oracle(rules: &[Rule], images: &[Image<Vec<String>>]) -> BTreeMap<usize, u64> {
    let sees = |rule: &Rule, image: &Image<Vec<String>>| match &rule.selection {
        Selection::Any => true,
        Selection::Untagged => image.tags.is_empty(),
        Selection::Prefixes(all) => all.iter().all(|prefix| image.tags.iter().any(|tag| tag.starts_with(prefix))),
        Selection::Patterns(all) => all.iter().all(|pattern| image.tags.iter().any(|tag| fits(pattern.as_str(), tag))),
    };
    let mut expired = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        let Some(rule) = rules.iter().find(|rule| sees(rule, image)) else { continue };
        let younger = images.iter().skip(index + 1).filter(|other| sees(rule, other)).count() as u64;
        let age_s = |at: Timestamp| now().secs() - at.secs();
        let is_victim = match rule.limit {
            Limit::CountMoreThan(kept) => younger >= kept,
            Limit::SincePushed(days) => age_s(image.pushed_at) > 86_400 * days as i64,
            Limit::SincePulled(days) => {
                let used = image.pulled_at.filter(|at| *at > image.pushed_at).unwrap_or(image.pushed_at);
                age_s(used) > 86_400 * days as i64
            }
        };
        if is_victim {
            expired.insert(index, rule.priority);
        }
    }
    expired
}

/// Wildcards by definition.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => text.is_empty(),
        Some(("*", rest)) => (0..=text.len()).any(|at| fits(rest, &text[at..])),
        Some((first, rest)) => text.strip_prefix(first).is_some_and(|text| fits(rest, text)),
    }
}

/// LIFE-48: evaluation and oracle agree on 100,000 random repositories.
#[test]
fn evaluation_agrees_with_the_oracle() {
    let mut dice = Dice::new(37);
    let (mut expired, mut kept, mut by_rule) = (0, 0, HashMap::new());
    for _ in 0..100_000 {
        let policy = random_policy(&mut dice);
        let images = random_images(&mut dice);
        let marked: BTreeMap<usize, u64> =
            policy.evaluate(&images, now()).iter().map(|marked| (marked.index, marked.priority)).collect();
        assert_eq!(marked, oracle(policy.rules(), &images), "{policy:?} {images:?}");
        expired += marked.len();
        kept += images.len() - marked.len();
        for rule in policy.rules() {
            let hits = marked.values().filter(|priority| **priority == rule.priority).count();
            *by_rule.entry(std::mem::discriminant(&rule.limit)).or_insert(0) += hits;
        }
    }
    // Both answers are common, and each kind of limit has worked.
    assert!(expired > 50_000 && kept > 50_000 && by_rule.len() == 3, "{expired} {kept} {by_rule:?}");
    assert!(by_rule.values().all(|hits| *hits > 5_000), "{by_rule:?}");
}

fn random_policy(dice: &mut Dice) -> LifecyclePolicy {
    let words = ["a", "b", "ab", "prod", "prod-1", ""];
    let patterns = ["a*", "*b", "*", "p*d*", "a*b", "prod"];
    loop {
        let rules: Vec<Value> = (0..1 + dice.below(4))
            .map(|_| {
                let pick = |dice: &mut Dice, from: &[&str]| {
                    let count = 1 + dice.below(2) as usize;
                    (0..count).map(|_| from[dice.below(from.len() as u64) as usize].to_owned()).collect::<Vec<_>>()
                };
                let tags = match dice.below(5) {
                    0 => json!({"tagStatus": "untagged"}),
                    1 => json!({"tagStatus": "any"}),
                    2 => json!({"tagStatus": "tagged", "tagPatternList": pick(dice, &patterns)}),
                    _ => json!({"tagStatus": "tagged", "tagPrefixList": pick(dice, &words)}),
                };
                let counts = ["imageCountMoreThan", "sinceImagePushed", "sinceImagePulled"];
                rule(1 + dice.below(9), tags, counts[dice.below(3) as usize], 1 + dice.below(4))
            })
            .collect();
        // Most faults are of rules that don't go together; they are another test's matter.
        if let Ok(policy) = parse(&rules) {
            return policy;
        }
    }
}

fn random_images(dice: &mut Dice) -> Vec<Image<Vec<String>>> {
    let words = ["a", "b", "ab", "prod", "prod-1", "x"];
    let mut images: Vec<_> = (0..dice.below(12))
        .map(|_| {
            let tags = (0..dice.below(3)).map(|_| words[dice.below(6) as usize].to_owned()).collect();
            let at = |dice: &mut Dice| now().minus(Duration::from_secs(43_200) * dice.below(12) as u32);
            let pulled_at = (dice.below(2) == 0).then(|| at(dice));
            Image { pulled_at, ..image(tags, at(dice)) }
        })
        .collect();
    images.sort_by_key(|image| image.pushed_at);
    images
}

#[test]
fn wildcards_agree_with_their_definition() {
    let mut dice = Dice::new(5);
    let text = |dice: &mut Dice, letters: &[u8]| -> String {
        (0..dice.below(8)).map(|_| char::from(letters[dice.below(letters.len() as u64) as usize])).collect()
    };
    let mut hits = 0;
    for _ in 0..200_000 {
        let (pattern, text) = (text(&mut dice, b"ab*"), text(&mut dice, b"ab"));
        let matches = Wildcard::new(pattern.as_str()).matches(&text);
        assert_eq!(matches, fits(&pattern, &text), "{pattern} {text}");
        hits += u32::from(matches);
    }
    assert!(hits > 1_000, "{hits}");
}

/// What a policy of 10 rules costs on 100,000 images:
/// `cargo test --release -p funaya-rules -- --ignored --nocapture cost`.
#[test]
#[ignore = "prints a time"]
fn cost_of_a_large_repository() {
    let mut dice = Dice::new(1);
    let images: Vec<_> = (0..100_000)
        .map(|number| image(vec![format!("v{number}"), format!("sha-{}", dice.roll())], days_ago(100 - number / 1_000)))
        .collect();
    let mut rules: Vec<Value> = (0..8)
        .map(|n| {
            let tags = json!({"tagStatus": "tagged", "tagPrefixList": [format!("v{n}"), "sha"]});
            rule(n + 1, tags, "imageCountMoreThan", 1_000)
        })
        .collect();
    rules.push(good_at(9));
    rules.push(rule(10, json!({"tagStatus": "any"}), "sinceImagePushed", 30));
    let policy = parse(&rules).unwrap();
    let start = std::time::Instant::now();
    let marked = policy.evaluate(&images, now());
    println!("{} of {} images expire, decided in {:?}", marked.len(), images.len(), start.elapsed());
}

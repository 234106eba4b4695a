//! The table of routes and actions stands in the documentation, generated.

use std::path::Path;

const HEAD: &str = "# Routes and actions

Each request is authorised, throttled and recorded as the ECR actions in its row.
This page is generated from the doors' own tables; a test compares it.

## Registry API

| Request | Actions |
| --- | --- |
";

const MIDDLE: &str = "
## ECR API

| Operation | Actions |
| --- | --- |
";

/// V2-06, API-73: a route without a row does not compile, and a changed row shows here.
/// `FUNAYA_BLESS=1` writes the page anew.
#[test]
fn the_table_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/routes.md");
    let table = format!("{HEAD}{}{MIDDLE}{}", funaya_oci::route_table(), funaya_aws::route_table());
    if std::env::var_os("FUNAYA_BLESS").is_some() {
        std::fs::write(&page, &table).unwrap();
    }
    let found = std::fs::read_to_string(&page).unwrap();
    let changed = found.lines().zip(table.lines()).find(|(old, new)| old != new);
    assert!(found == table, "run with FUNAYA_BLESS=1 and look at the difference; the first: {changed:?}");
}

//! What the derive says to a struct that cannot be an entity: every file of `ui/` must fail with the words beside it.

#[test]
fn mistakes_are_told_at_the_field_with_the_remedy() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

//! Flex values: FlexBuffers that others wrote.

use reconvene_model::Flex;
use reconvene_model::flex::{FlexRef, check_flex};

/// Reads a value in place and decodes it; what is taken is written and read as the same.
pub fn flex(bytes: &[u8]) {
    let decoded = Flex::decode(bytes);
    assert_eq!(check_flex(bytes), decoded.as_ref().map(|_| ()).map_err(|error| *error));
    if let Ok(root) = FlexRef::root(bytes) {
        let _ = (root.view(), root.at(0), root.get("a"));
    }
    let Ok(value) = decoded else { return };
    let again = value.encode().expect("what was decoded is not too deep and has proper keys");
    assert_eq!(Flex::decode(&again), Ok(value));
}

//! Model files as people merge them and tools damage them.

use reconvene_model::model_file::ModelFile;
use reconvene_model::record::TableLayout;

use crate::memory;

/// How much a model file may take in memory for each byte of its text.
const MEMORY_FACTOR: usize = 128;

/// The longest message about a model file beside what it quotes, in bytes.
const ERROR_BYTES_MAX: usize = 4096;

/// Any bytes as the text of one model file.
pub fn model_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let read = memory::bounded("a model file", text.len(), MEMORY_FACTOR, || ModelFile::parse(&text));
    let model = match read {
        Ok(model) => model,
        Err(error) => {
            assert!(error.to_string().len() <= ERROR_BYTES_MAX + text.len());
            return;
        }
    };
    let written = model.to_json();
    let again = ModelFile::parse(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again, model, "{written}");
    assert_eq!(again.to_json(), written);

    let schema = model.schema();
    let fresh = ModelFile::from_schema(schema).to_json();
    let fresh = ModelFile::parse(&fresh).unwrap_or_else(|error| panic!("{error}: {fresh}"));
    assert_eq!(fresh.schema(), schema);
    assert_eq!(fresh.schema().full_hash(), schema.full_hash());
    assert_eq!(fresh.schema().base_hash(), schema.base_hash());
    for entity in schema.entities() {
        assert!(TableLayout::new(entity).slots() >= entity.stored_properties().count());
    }
}

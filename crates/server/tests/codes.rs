//! The numbers that the store writes into verdicts are codes of the protocol.

use reconvene_model::{GlobalId, PeerId, PropertyType};
use reconvene_protocol::Code;
use reconvene_store::{LOST_BY_SERVER, RefusalReason};

#[test]
fn every_reason_for_a_refusal_is_a_code_that_clients_know() {
    let (entity, property, gid) = (String::new, String::new, GlobalId::new(PeerId(1), 1));
    for (reason, code) in [
        (RefusalReason::UnknownEntity, Code::TxSchemaUnknown),
        (RefusalReason::NotSynced { entity: entity() }, Code::TxSchemaUnknown),
        (
            RefusalReason::TypeMismatch {
                entity: entity(),
                property: property(),
                known: PropertyType::Int.to_string(),
                got: String::new(),
            },
            Code::TxTypeMismatch,
        ),
        (RefusalReason::ForeignId { entity: entity() }, Code::ForeignId),
        (RefusalReason::GenerationAhead { entity: entity(), gid, known: 0, got: 1 }, Code::GenerationAhead),
        (RefusalReason::DependsOnRefused { entity: entity(), gid }, Code::ObjectMissing),
        (RefusalReason::UniqueTaken { entity: entity(), property: property() }, Code::NotUnique),
        (RefusalReason::TooManyOps { max: 1 }, Code::TxTooLarge),
        (RefusalReason::TooManyValues { max: 1 }, Code::TxTooLarge),
        (RefusalReason::TooManyProperties { entity: entity(), gid, max: 1 }, Code::TxTooLarge),
        (RefusalReason::SetTooLarge { entity: entity(), property: entity(), gid, max: 1 }, Code::TxTooLarge),
        (RefusalReason::ClockAhead { ahead_ms: 1, max_ms: 0 }, Code::ClockAhead),
    ] {
        assert_eq!(Code::from_number(reason.code()), code, "{reason}");
    }
    assert_eq!(Code::from_number(LOST_BY_SERVER), Code::LostByServer);
}

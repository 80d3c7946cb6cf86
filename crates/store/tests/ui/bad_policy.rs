use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store", sync, conflict = "precedence")]
struct Task {
    id: u64,
    stage: u8,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store", sync, conflict = "arrival")]
struct Note {
    id: u64,
    #[sync_precedence]
    stage: u8,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Draft {
    id: u64,
    #[sync_clock]
    clock: i64,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store", sync)]
struct Reading {
    id: u64,
    #[sync_precedence]
    one: u8,
    #[sync_precedence]
    two: u8,
}

fn main() {}

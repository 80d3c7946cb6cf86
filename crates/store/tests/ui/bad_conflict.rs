use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store", sync, conflict = "objekt")]
struct Task {
    id: u64,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store", sync, conflict = "newest")]
struct Note {
    id: u64,
}

fn main() {}

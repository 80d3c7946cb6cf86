use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store", shared_ids)]
struct Task {
    id: u64,
    #[transient]
    #[index]
    selected: bool,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store", sync = true)]
struct Note {
    id: u64,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Tag {
    #[unique]
    id: u64,
}

fn main() {}

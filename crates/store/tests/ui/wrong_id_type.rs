use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: i64,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Note {
    #[id]
    key: String,
}

fn main() {}

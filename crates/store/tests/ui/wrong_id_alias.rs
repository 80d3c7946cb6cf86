use reconvene_store::Entity;

type Key = u32;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: Key,
}

fn main() {}

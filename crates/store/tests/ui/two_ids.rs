use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    #[id]
    key: u64,
    #[id]
    other: u64,
}

fn main() {}

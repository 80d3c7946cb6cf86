use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: u64,
    #[index]
    tags: std::collections::HashSet<String>,
}

fn main() {}

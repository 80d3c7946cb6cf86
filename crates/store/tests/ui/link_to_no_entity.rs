use reconvene_store::Entity;

struct Project;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: u64,
    project: reconvene_store::ToOne<Project>,
}

fn main() {}

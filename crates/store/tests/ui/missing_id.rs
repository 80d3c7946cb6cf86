use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    title: String,
}

fn main() {}

use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: u64,
    title: String,
    #[property(name = "title")]
    heading: String,
    #[property(name = "id")]
    number: u64,
}

fn main() {}

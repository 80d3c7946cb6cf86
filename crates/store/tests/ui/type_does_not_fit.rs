use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: u64,
    #[property(ty = "Date")]
    due: String,
}

fn main() {}

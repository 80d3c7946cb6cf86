use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store", snyc)]
struct Task {
    id: u64,
    #[property(nmae = "name")]
    title: String,
    #[property(colour = "red")]
    color: String,
    #[property(index)]
    done: bool,
    #[property(ty = "DateNanos")]
    due: i64,
    #[index(hsah)]
    size: i32,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Note {
    #[id(assignabel)]
    id: u64,
    #[entity(sync)]
    text: String,
}

fn main() {}

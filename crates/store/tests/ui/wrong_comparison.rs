use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: u64,
    done: bool,
    title: Option<String>,
    tags: Vec<String>,
}

fn conditions() {
    Task::title().eq(5);
    Task::done().lt(true);
    Task::tags().eq("home");
    Task::done().starts_with("t");
}

fn main() {}

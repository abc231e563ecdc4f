//! Writes the OpenAPI document of each role to `openapi/`: `cargo run -p tsm-api --example openapi`.

use std::path::Path;

use tsm_api::openapi::Role;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi");
    std::fs::create_dir_all(&folder)?;
    for role in Role::ALL {
        std::fs::write(folder.join(format!("{}.json", role.name())), role.document())?;
    }
    Ok(())
}

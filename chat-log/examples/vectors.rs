//! Writes `vectors/*.json` anew.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    for (name, content) in chat_log::vectors::files()? {
        std::fs::write(folder.join(name), content)?;
    }
    Ok(())
}

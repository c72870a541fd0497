//! `DuplicateStageName`, `ReservedStageName`.

use super::Found;
use crate::ast::Dockerfile;

pub(super) fn check(file: &Dockerfile, found: &mut Found<'_>) {
    for (at, stage) in file.stages.iter().enumerate() {
        let (Some(name), Some((_, place))) = (&stage.name, &stage.name_spans) else { continue };
        if matches!(name.as_str(), "scratch" | "context") {
            let message = format!("`{name}` has a meaning of its own and should not name a stage");
            found.warn("ReservedStageName", place.clone(), message, "reserved");
        }
        if file.stages[..at].iter().any(|earlier| earlier.name.as_ref() == Some(name)) {
            let message = format!("there are two stages named `{name}`");
            found.warn("DuplicateStageName", place.clone(), message, "hides the stage above");
        }
    }
}

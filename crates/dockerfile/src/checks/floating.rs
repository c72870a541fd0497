//! `floating-image`.

use super::Found;
use super::reference::{has_registry, is_pinned, is_reference};
use crate::ast::Stage;
use crate::diagnostic::Diagnostic;

/// Looks at the base of a stage that is no other stage, with variables expanded.
pub(super) fn check(base: &str, stage: &Stage, found: &mut Found<'_>) {
    if !is_reference(base) || !has_registry(base) || is_pinned(base) {
        return;
    }
    let message = format!("`{base}` is another image whenever its registry has a newer one");
    found.report(
        Diagnostic::warning("floating-image", stage.base_span.clone(), message)
            .label("names no version")
            .hint("name a version, or a digest: `…@sha256:…`"),
    );
}

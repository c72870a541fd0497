//! What checks there are.

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name: BuildKit's in camel case, ours in kebab case.
    pub name: &'static str,
    /// What it finds, in one line.
    pub description: &'static str,
    /// Why that is bad, and what to do.
    pub explanation: &'static str,
    /// Whether it runs only where it is asked for (`experimental=`).
    pub experimental: bool,
}

impl Rule {
    /// Whether BuildKit has it under this name.
    pub fn is_buildkit(&self) -> bool {
        self.name.starts_with(|c: char| c.is_ascii_uppercase())
    }
}

/// A check of this name.
pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// Checks of BuildKit that may be skipped by name and never find anything here: what they look at is
/// known only when a base image was pulled.
pub(super) const ELSEWHERE: &[&str] = &["InvalidBaseImagePlatform"];

const fn rule(name: &'static str, description: &'static str, explanation: &'static str) -> Rule {
    Rule { name, description, explanation, experimental: false }
}

/// All checks of a Dockerfile: BuildKit's in the order of its documentation, then ours.
pub static RULES: [Rule; 26] = [
    rule(
        "StageNameCasing",
        "the name of a stage is not in lower case",
        "Names of stages are read in lower case; written so, they look like what they are.",
    ),
    rule(
        "FromAsCasing",
        "`AS` is not written in the case of its `FROM`",
        "Write `FROM … AS` or `from … as`.",
    ),
    rule(
        "NoEmptyContinuation",
        "a blank line stands inside a continued instruction",
        "A later version of the language makes it an error. Remove the line, or make it a comment.",
    ),
    rule(
        "ConsistentInstructionCasing",
        "an instruction is not written in the case of the others",
        "All instructions of a file in upper case, or all in lower case; the majority decides.",
    ),
    rule(
        "DuplicateStageName",
        "two stages have one name",
        "The second hides the first. Give each a name of its own.",
    ),
    rule(
        "ReservedStageName",
        "a stage is named `scratch` or `context`",
        "These words have a meaning of their own in FROM and COPY --from.",
    ),
    rule(
        "JSONArgsRecommended",
        "CMD or ENTRYPOINT is in shell form",
        "The shell, not the program, gets the signals that end a container. Write a JSON array; or say \
         with SHELL that a shell is meant.",
    ),
    rule(
        "MaintainerDeprecated",
        "MAINTAINER is used",
        "Write `LABEL org.opencontainers.image.authors=…`.",
    ),
    rule(
        "UndefinedArgInFrom",
        "FROM uses a variable that no ARG above declares",
        "It is empty, whatever --build-arg says. Declare it with ARG before the first FROM.",
    ),
    rule(
        "WorkdirRelativePath",
        "WORKDIR is relative, and no absolute one stands before it",
        "Where it leads depends on the base image. Begin with an absolute one.",
    ),
    rule(
        "UndefinedVar",
        "an instruction uses a variable that nothing has set",
        "It is empty. Set it with ENV, or declare it with ARG. Commands in shell form are not looked at: \
         there the shell expands.",
    ),
    rule(
        "MultipleInstructionsDisallowed",
        "CMD, ENTRYPOINT or HEALTHCHECK stands twice in a stage",
        "Only the last one counts. Remove the others.",
    ),
    rule(
        "LegacyKeyValueFormat",
        "ENV or LABEL is written without `=`",
        "Then the whole rest of the line is the value. Write `NAME=VALUE`.",
    ),
    rule(
        "RedundantTargetPlatform",
        "FROM has `--platform=$TARGETPLATFORM`",
        "That is what it means without. Leave it out.",
    ),
    rule(
        "SecretsUsedInArgOrEnv",
        "the name of an ARG or ENV sounds like a secret",
        "Their values stay in the image or its history. Use `RUN --mount=type=secret`.",
    ),
    rule(
        "InvalidDefaultArgInFrom",
        "without --build-arg, FROM names no image",
        "Give the ARG a default, so that the file builds without arguments. What a plan sets counts as one.",
    ),
    rule(
        "FromPlatformFlagConstDisallowed",
        "FROM has a fixed `--platform`",
        "The stage is the same for every platform that is built. Leave it out, use a variable, or name the \
         system or architecture in the name of the stage.",
    ),
    Rule {
        experimental: true,
        ..rule(
            "CopyIgnoredFile",
            "COPY or ADD takes what the ignore file excludes",
            "It is not in the build context, so the build fails. Take it back in with `!`, or copy another.",
        )
    },
    Rule {
        experimental: true,
        ..rule(
            "InvalidDefinitionDescription",
            "the comment right above a stage or ARG does not begin with its name",
            "Such comments are shown as its description. Begin with the name, or leave a line between.",
        )
    },
    rule("ExposeProtoCasing", "the protocol of EXPOSE is not in lower case", "Write `80/tcp`."),
    rule(
        "ExposeInvalidFormat",
        "EXPOSE has an address or a port of the host",
        "It says what the container listens on: a port, and perhaps a protocol.",
    ),
    rule(
        "json-form",
        "an instruction looks like the exec form, and is no JSON",
        "It is taken as the shell form. Put words in double quotes, with commas between.",
    ),
    rule(
        "late-flag",
        "a flag of COPY or ADD stands behind a path",
        "It is taken as a path. Flags stand right behind the keyword.",
    ),
    rule(
        "install-after-copy",
        "a directory is copied before packages are installed that need little or nothing of it",
        "Every change below the directory installs them again. Copy the list that the command reads, \
         install, and copy the rest below.",
    ),
    rule(
        "floating-image",
        "FROM names an image of a registry without a version",
        "What is built depends on the day. Name a version, or better a digest.",
    ),
    rule(
        "tier-not-chained",
        "the Dockerfile of a tier above the first does not use the tier below",
        "Put `ARG BASE_IMAGE` before `FROM ${BASE_IMAGE}`.",
    ),
];

#[cfg(test)]
mod tests {
    use super::RULES;

    #[test]
    fn the_documentation_lists_every_rule() {
        let table = include_str!("../../../../docs/checks.md");
        for rule in RULES {
            assert!(table.contains(&format!("| `{}` |", rule.name)), "{}", rule.name);
        }
    }
}

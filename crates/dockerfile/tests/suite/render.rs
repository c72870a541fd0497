//! Renders what the parser gives, so that tests read as a Dockerfile and its outcome.

use anyarch_dockerfile::{Command, Diagnostic, Dockerfile, Heredoc, Kind, Severity, Word, parse};

/// The stages and instructions of a file that must have no findings.
pub(crate) fn stages(text: &str) -> String {
    let (file, diagnostics) = parse(text);
    assert!(diagnostics.is_empty(), "{}", render(text, &diagnostics));
    show(&file)
}

/// The findings about a file, each with its line and a mark under its bytes.
pub(crate) fn findings(text: &str) -> String {
    render(text, &parse(text).1)
}

pub(crate) fn show(file: &Dockerfile) -> String {
    let mut out = Vec::new();
    out.extend(file.meta_args.iter().map(|arg| kind(&arg.kind)));
    for stage in &file.stages {
        let mut line = format!("FROM {}", stage.base);
        if let Some(name) = &stage.name {
            line.push_str(&format!(" AS {name}"));
        }
        if let Some(platform) = &stage.platform {
            line.push_str(&format!(" on {platform}"));
        }
        out.push(line);
        out.extend(
            stage.instructions.iter().map(|instruction| format!("  {}", kind(&instruction.kind))),
        );
    }
    out.join("\n")
}

fn kind(kind: &Kind) -> String {
    let word = kind.keyword();
    match kind {
        Kind::Arg(args) => {
            let args: Vec<_> =
                args.iter().map(|arg| format!("{}={:?}", arg.name, arg.default)).collect();
            format!("{word} {}", args.join(" "))
        }
        Kind::Env(pairs) | Kind::Label(pairs) => {
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| format!("[{name}]=[{value}]")).collect();
            format!("{word} {}", pairs.join(" "))
        }
        Kind::Run(run) => {
            let mut out = format!("{word} {}", command(&run.command));
            out.extend(run.mounts.iter().map(|mount| format!(" mount={}", mount.text)));
            out.extend(run.network.iter().map(|network| format!(" network={network:?}")));
            out.push_str(if run.security == Default::default() { "" } else { " insecure" });
            out.extend(
                run.devices
                    .iter()
                    .map(|device| format!(" device={}:{}", device.name, device.required)),
            );
            out + &heredocs(&run.heredocs)
        }
        Kind::Copy(copy) => {
            let flags = [&copy.from.as_ref().map(Word::to_string), &copy.chown, &copy.chmod];
            format!(
                "{word} {} -> {} {flags:?} link={} parents={} exclude={:?}{}",
                words(&copy.sources),
                copy.destination,
                copy.link,
                copy.parents,
                copy.exclude,
                heredocs(&copy.heredocs)
            )
        }
        Kind::Add(add) => {
            let flags = [&add.chown, &add.chmod, &add.checksum];
            format!(
                "{word} {} -> {} {flags:?} link={} exclude={:?} keep-git-dir={:?} unpack={:?}{}",
                words(&add.sources),
                add.destination,
                add.link,
                add.exclude,
                add.keep_git_dir,
                add.unpack,
                heredocs(&add.heredocs)
            )
        }
        Kind::Entrypoint(value) | Kind::Cmd(value) => format!("{word} {}", command(value)),
        Kind::Workdir(text)
        | Kind::User(text)
        | Kind::StopSignal(text)
        | Kind::Maintainer(text) => {
            format!("{word} [{text}]")
        }
        Kind::Expose(list) | Kind::Volume(list) | Kind::Shell(list) => format!("{word} {list:?}"),
        Kind::Healthcheck(check) => format!("{word} {check:?}"),
        Kind::OnBuild(inner) => format!("{word} <{}>", self::kind(&inner.kind)),
    }
}

fn command(command: &Command) -> String {
    match command {
        Command::Shell(text) => format!("sh[{text}]"),
        Command::Exec(argv) => format!("exec{argv:?}"),
    }
}

fn words(words: &[Word]) -> String {
    words.iter().map(Word::as_str).collect::<Vec<_>>().join(",")
}

fn heredocs(heredocs: &[Heredoc]) -> String {
    let show = |heredoc: &Heredoc| {
        let Heredoc { name, expand, strip_tabs, fd, content } = heredoc;
        format!("\n    {name} expand={expand} strip={strip_tabs} fd={fd:?} {content:?}")
    };
    heredocs.iter().map(show).collect()
}

fn render(text: &str, diagnostics: &[Diagnostic]) -> String {
    let show = |diagnostic: &Diagnostic| {
        let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        let start = text[..diagnostic.span.start].rfind('\n').map_or(0, |at| at + 1);
        let number = text[..start].matches('\n').count() + 1;
        let line = text[start..].lines().next().unwrap_or_default();
        let indent = " ".repeat(text[start..diagnostic.span.start].chars().count());
        let marked = text[diagnostic.span.clone()].lines().next().unwrap_or_default();
        let marks = "^".repeat(marked.chars().count().max(1));
        let gutter = format!("{number} | ");
        let blank = " ".repeat(number.to_string().len());
        let mut out = format!(
            "{severity}[{}]: {}\n{gutter}{line}\n{blank} | {indent}{marks} {}",
            diagnostic.code, diagnostic.message, diagnostic.label
        );
        if let Some(hint) = &diagnostic.hint {
            out.push_str(&format!("\n{blank} = {hint}"));
        }
        out
    };
    diagnostics.iter().map(show).collect::<Vec<_>>().join("\n")
}

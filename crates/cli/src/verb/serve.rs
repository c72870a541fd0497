//! `anyarch serve`: the embedded registry over the local store.

use std::net::SocketAddr;
use std::sync::Arc;

use anyarch_oci::RepositoryName;
use anyarch_registry::server::{Access, Server};

use crate::failure::Failure;
use crate::global::Global;
use crate::interrupt::Interrupt;
use crate::{output, text};

/// Where the embedded registry listens unless told otherwise.
const ADDRESS: &str = "127.0.0.1:5000";

/// Serve the local store as a registry, until Ctrl-C
///
/// Any client can pull from it and push to it. There are no accounts: whoever reaches the address
/// may do so.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port to listen at; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = ADDRESS)]
    addr: SocketAddr,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let store = global.open_store()?;
    let interrupt = Interrupt::listen(&global.cancel, false)?;
    let quiet = global.quiet;
    let on_access = Arc::new(move |access: Access| {
        if !quiet {
            output::say(&line(&access));
        }
    });
    let server = Server::bind_observed(args.addr, store.clone(), on_access)?;
    let running = server.serve_in_background()?;
    let address = running.addr();
    output::print(&format!("serving {} at http://{address}\n", store.root().display()))?;
    if !quiet {
        output::say(&pulls(&store, &address.to_string())?);
    }
    interrupt.wait();
    if !quiet {
        output::say("stopping: waiting for transfers to end; Ctrl-C again ends at once\n");
    }
    if !running.shutdown() {
        output::say("warning: transfers that did not end in time were broken off\n");
    }
    Ok(())
}

/// How to pull what a publication left in the embedded registry.
pub(crate) fn how_to_pull(global: &Global, repository: &RepositoryName, tags: &[&str]) -> String {
    let store = match (&global.store, &global.default_store) {
        (Some(store), default) if Some(store) != default.as_ref() => {
            format!(" --store {}", quoted(&store.display().to_string()))
        }
        _ => String::new(),
    };
    let mut said = format!("\nto pull from the embedded registry:\n  anyarch serve{store}\n");
    if let Some(tag) = tags.last() {
        said.push_str(&commands(ADDRESS, repository.as_str(), tag));
    }
    said
}

fn commands(address: &str, repository: &str, tag: &str) -> String {
    let image = format!("{address}/{repository}:{tag}");
    format!(
        "  podman pull --tls-verify=false {image}\n  \
           docker pull {image}\n  \
           skopeo copy --src-tls-verify=false docker://{image} oci-archive:{tag}.tar\n"
    )
}

/// What there is to pull, and how.
fn pulls(store: &anyarch_store::Store, address: &str) -> Result<String, Failure> {
    let mut said = String::new();
    let mut example = None;
    for repository in store.repositories()? {
        let tags: Vec<String> = store.tags(&repository)?.iter().map(ToString::to_string).collect();
        if let Some(tag) = tags.iter().find(|tag| tag.starts_with("latest")).or(tags.first()) {
            said.push_str(&format!("  {repository}: {}\n", tags.join(", ")));
            example.get_or_insert((repository.to_string(), tag.clone()));
        }
    }
    Ok(match example {
        Some((repository, tag)) => {
            format!("{said}to pull:\n{}", commands(address, &repository, &tag))
        }
        None => "  no images yet; `anyarch publish` puts some there\n".to_owned(),
    })
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    match word.chars().all(plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// One exchange: `200 GET /v2/app/manifests/latest 1.2 kB`.
fn line(access: &Access) -> String {
    let Access { method, path, status, bytes } = access;
    // A path comes from anybody, and goes to a terminal.
    let path: String = path.chars().filter(|c| !c.is_control()).collect();
    format!("{status} {method} {path} {}\n", text::bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted("/tmp/store"), "/tmp/store");
        assert_eq!(quoted("/tmp/my store's"), r"'/tmp/my store'\''s'");
    }

    #[test]
    fn a_path_cannot_move_the_terminal() {
        let access = Access {
            method: "GET".to_owned(),
            path: "/v2/\u{1b}[2J".to_owned(),
            status: 404,
            bytes: 0,
        };
        assert_eq!(line(&access), "404 GET /v2/[2J 0 B\n");
    }
}

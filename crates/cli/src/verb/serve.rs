//! `anyarch serve`: the embedded registry over the local store.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyarch_oci::RepositoryName;
use anyarch_registry::server::{Access, Accounts, Options, Server, Tls};

use crate::failure::Failure;
use crate::global::Global;
use crate::interrupt::Interrupt;
use crate::{output, text};

/// Where the embedded registry listens unless told otherwise.
const ADDRESS: &str = "127.0.0.1:5000";

/// Serve the local store as a registry, until Ctrl-C
///
/// Any client can pull from it and push to it. Without --htpasswd there are no accounts: whoever
/// reaches the address may do so.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port to listen at; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = ADDRESS)]
    addr: SocketAddr,
    /// Ask for a name and a password of this file, made with `htpasswd -B`; read once, at the start
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Let anyone pull; only pushing and deleting need an account
    #[arg(long, requires = "htpasswd")]
    anonymous_pull: bool,
    /// Serve with TLS: the server's certificate in PEM, and after it those that lead to its authority
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let accounts = args.htpasswd.as_deref().map(Accounts::read).transpose()?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::read(certificate, key)?),
        _ => None,
    };
    if accounts.is_some() && tls.is_none() && !args.addr.ip().is_loopback() {
        output::say(
            "warning: passwords cross the network as plain text; add --tls-cert and --tls-key\n",
        );
    }
    let store = global.open_store()?;
    if let Err(error) = store.heal() {
        // Such as files of the other users that a build had; they are in nobody's way.
        let left = "left-overs of an interrupted run stay until the next build";
        output::say(&format!("warning: {left}: {error}\n"));
    }
    let interrupt = Interrupt::listen(&global.cancel, false)?;
    let quiet = global.quiet;
    let on_access = Arc::new(move |access: Access| {
        if !quiet {
            output::say(&line(&access));
        }
    });
    let site = Site {
        has_tls: tls.is_some(),
        needs_login: accounts.is_some() && !args.anonymous_pull,
        address: String::new(),
    };
    let options = Options {
        on_access: Some(on_access),
        accounts,
        anonymous_pull: args.anonymous_pull,
        tls,
        ..Options::default()
    };
    let running = Server::bind_with(args.addr, store.clone(), options)?.serve_in_background()?;
    let site = Site { address: running.addr().to_string(), ..site };
    let scheme = if site.has_tls { "https" } else { "http" };
    output::print(&format!("serving {} at {scheme}://{}\n", store.root().display(), site.address))?;
    if !quiet {
        output::say(&pulls(&store, &site)?);
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
        let site = Site { address: ADDRESS.to_owned(), ..Site::default() };
        said.push_str(&commands(&site, repository.as_str(), tag));
    }
    said
}

/// What clients must know of a registry.
#[derive(Default)]
struct Site {
    address: String,
    has_tls: bool,
    needs_login: bool,
}

fn commands(site: &Site, repository: &str, tag: &str) -> String {
    let Site { address, has_tls, needs_login } = site;
    let image = format!("{address}/{repository}:{tag}");
    let (plain, plain_source) = match has_tls {
        true => ("", ""),
        false => (" --tls-verify=false", " --src-tls-verify=false"),
    };
    let login = match needs_login {
        true => format!("  podman login{plain} {address}\n  docker login {address}\n"),
        false => String::new(),
    };
    format!(
        "{login}  podman pull{plain} {image}\n  \
           docker pull {image}\n  \
           skopeo copy{plain_source} docker://{image} oci-archive:{tag}.tar\n"
    )
}

/// What there is to pull, and how.
fn pulls(store: &anyarch_store::Store, site: &Site) -> Result<String, Failure> {
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
            format!("{said}to pull:\n{}", commands(site, &repository, &tag))
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
    fn commands_fit_the_server() {
        let mut site = Site { address: "r:1".to_owned(), ..Site::default() };
        let plain = commands(&site, "app", "v1");
        assert!(plain.starts_with("  podman pull --tls-verify=false r:1/app:v1\n"), "{plain}");
        (site.has_tls, site.needs_login) = (true, true);
        let secured = commands(&site, "app", "v1");
        assert!(secured.starts_with("  podman login r:1\n") && !secured.contains("tls-verify"));
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

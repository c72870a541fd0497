//! Credentials found in files as docker, podman and skopeo write them, and by helper programs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyarch_credentials::{CredentialError, Finder, Login, Place, Places};
use tempfile::TempDir;

/// `me:pw` in base64.
const ME: &str = "bWU6cHc=";

/// Held to write a program and to run one: a process that starts in between would inherit the file
/// that is being written, and the kernel runs no file that somebody may still write (ETXTBSY).
static PROGRAMS: Mutex<()> = Mutex::new(());

/// A machine with credential files and helper programs.
struct Machine(TempDir);

impl Machine {
    fn new() -> Machine {
        Machine(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A machine with docker's file only.
    fn docker(text: &str) -> Machine {
        let machine = Machine::new();
        machine.write("docker/config.json", text);
        machine
    }

    /// A helper program that knows one server; it notes what it is asked for.
    fn helper(&self, name: &str, server: &str, answer: &str) {
        let asked = self.0.path().join("asked");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = get ] || exit 9\nread -r server\necho \"$server\" >> {}\n\
             if [ \"$server\" = '{server}' ]; then echo '{answer}'; exit 0; fi\n\
             echo 'credentials not found in native keychain'; exit 1\n",
            asked.display()
        );
        self.program(name, &script);
    }

    fn program(&self, name: &str, script: &str) {
        let _held = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.write(&format!("bin/docker-credential-{name}"), script);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn places(&self) -> Places {
        let folder = |name| Some(self.0.path().join(name));
        let (runtime, config, docker) =
            (folder("runtime/containers"), folder("config/containers"), folder("docker"));
        Places { named: None, runtime, config, docker }
    }

    fn finder(&self, files: Vec<Place>) -> Finder {
        Finder::new(files).with_helpers_in(self.0.path().join("bin"))
    }

    fn find(&self, registry: &str, repository: &str) -> Result<Option<Login>, CredentialError> {
        let _held = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
        self.finder(self.places().files()).find(registry, Some(repository))
    }

    fn found(&self, registry: &str, repository: &str) -> Option<Login> {
        self.find(registry, repository).unwrap()
    }
}

fn password(username: &str, password: &str) -> Option<Login> {
    Some(Login::Password { username: username.to_owned(), password: password.to_owned() })
}

#[test]
fn entries_hold_passwords_or_tokens() {
    let machine = Machine::docker(&format!(
        r#"{{"auths": {{
            "base64.example": {{"auth": "{ME}"}},
            "unpadded.example": {{"auth": "bWU6cHc"}},
            "plain.example": {{"username": "me", "password": "pw"}},
            "identity.example": {{"auth": "bWU6", "identitytoken": "long"}},
            "registry.example": {{"registrytoken": "short"}},
            "https://url.example/v1/": {{"auth": "{ME}"}},
            "empty.example": {{}}
        }}, "HttpHeaders": {{"User-Agent": "x"}}}}"#
    ));
    for registry in ["base64.example", "unpadded.example", "plain.example", "url.example"] {
        assert_eq!(machine.found(registry, "app"), password("me", "pw"), "{registry}");
    }
    let identity = Login::IdentityToken("long".to_owned());
    assert_eq!(machine.found("identity.example", "app"), Some(identity));
    let registry = Login::RegistryToken("short".to_owned());
    assert_eq!(machine.found("registry.example", "app"), Some(registry));
    assert_eq!(machine.found("empty.example", "app"), None);
    assert_eq!(machine.found("other.example", "app"), None);
}

#[test]
fn dockers_registry_is_found_by_all_its_names() {
    for key in ["https://index.docker.io/v1/", "index.docker.io", "docker.io"] {
        let machine = Machine::docker(&format!(r#"{{"auths": {{"{key}": {{"auth": "{ME}"}}}}}}"#));
        for registry in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            assert_eq!(machine.found(registry, "library/x"), password("me", "pw"), "{key}");
        }
    }
}

#[test]
fn most_specific_key_of_podman_wins() {
    let machine = Machine::new();
    machine.write(
        "runtime/containers/auth.json",
        // a:1, b:2, c:3
        r#"{"auths": {
            "r.example": {"auth": "YTox"},
            "r.example/team": {"auth": "Yjoy"},
            "r.example/team/app": {"auth": "Yzoz"}
        }}"#,
    );
    assert_eq!(machine.found("r.example", "team/app"), password("c", "3"));
    assert_eq!(machine.found("r.example", "team/app/sub"), password("c", "3"));
    assert_eq!(machine.found("r.example", "team/apple"), password("b", "2"));
    assert_eq!(machine.found("r.example", "teams"), password("a", "1"));
    assert_eq!(
        machine.finder(machine.places().files()).find("r.example", None).unwrap(),
        password("a", "1")
    );
}

#[test]
fn files_are_looked_at_in_order() {
    let machine = Machine::new();
    let of = |login: &str| format!(r#"{{"auths": {{"r.example": {{"auth": "{login}"}}}}}}"#);
    machine.write("docker/config.json", &of("YTox"));
    assert_eq!(machine.found("r.example", "app"), password("a", "1"));
    machine.write("config/containers/auth.json", &of("Yjoy"));
    assert_eq!(machine.found("r.example", "app"), password("b", "2"));
    machine.write("runtime/containers/auth.json", &of("Yzoz"));
    assert_eq!(machine.found("r.example", "app"), password("c", "3"));

    let named = machine.write("elsewhere.json", &of(ME));
    let places = Places { named: Some(named), ..machine.places() };
    let find = |places: &Places| machine.finder(places.files()).find("r.example", Some("app"));
    assert_eq!(find(&places).unwrap(), password("me", "pw"));
    let missing = Places { named: Some("/nowhere/auth.json".into()), ..places };
    let error = find(&missing).unwrap_err();
    assert!(error.to_string().contains("/nowhere/auth.json"), "{error}");
    assert!(error.hint().unwrap().contains("REGISTRY_AUTH_FILE"));
}

#[test]
fn helper_program_of_the_store_is_asked_where_an_entry_is_empty() {
    let answer = r#"{"ServerURL": "r.example", "Username": "me", "Secret": "kept"}"#;
    // As Docker Desktop leaves it, and as newer versions do.
    for auths in [r#"{"r.example": {"auth": ""}}"#, r#"{"r.example": {}}"#, "{}"] {
        let machine = Machine::docker(&format!(r#"{{"auths": {auths}, "credsStore": "desktop"}}"#));
        machine.helper("desktop", "r.example", answer);
        assert_eq!(machine.found("r.example", "app"), password("me", "kept"), "{auths}");
        assert_eq!(machine.found("other.example", "app"), None);
    }
}

#[test]
fn helper_program_for_a_registry_goes_before_everything() {
    let machine = Machine::docker(&format!(
        r#"{{"auths": {{"r.example": {{"auth": "{ME}"}}}},
            "credHelpers": {{"r.example": "cloud"}}, "credsStore": "missing"}}"#
    ));
    let answer = r#"{"ServerURL": "r.example", "Username": "<token>", "Secret": "refresh"}"#;
    machine.helper("cloud", "r.example", answer);
    let token = Login::IdentityToken("refresh".to_owned());
    assert_eq!(machine.found("r.example", "app"), Some(token));
    // Where it has nothing, the entry counts.
    machine.helper("cloud", "another", "{}");
    assert_eq!(machine.found("r.example", "app"), password("me", "pw"));
}

#[test]
fn helper_program_is_asked_for_dockers_registry_as_docker_asks() {
    let machine = Machine::docker(r#"{"credsStore": "pass"}"#);
    let answer = r#"{"Username": "me", "Secret": "kept"}"#;
    machine.helper("pass", "https://index.docker.io/v1/", answer);
    assert_eq!(machine.found("docker.io", "library/x"), password("me", "kept"));
    machine.helper("pass", "docker.io", answer);
    assert_eq!(machine.found("docker.io", "library/x"), password("me", "kept"));
    let asked = fs::read_to_string(machine.0.path().join("asked")).unwrap();
    let url = "https://index.docker.io/v1/";
    assert_eq!(asked.lines().collect::<Vec<_>>(), [url, url, "docker.io"]);
}

#[test]
fn missing_helper_program_is_named_with_its_file() {
    let machine = Machine::docker(r#"{"credsStore": "desktop"}"#);
    let error = machine.find("r.example", "app").unwrap_err();
    let words = error.to_string();
    assert!(words.contains("docker/config.json"), "{words}");
    assert!(words.contains("`docker-credential-desktop`, which is not there"), "{words}");
    assert!(error.hint().unwrap().contains("credsStore"));
}

#[test]
fn failing_helper_program_says_why() {
    let machine = Machine::docker(r#"{"credsStore": "pass"}"#);
    machine.program("pass", "#!/bin/sh\necho 'the key ring is locked'\nexit 1\n");
    let error = machine.find("r.example", "app").unwrap_err();
    assert!(error.to_string().ends_with("for r.example: the key ring is locked"), "{error}");
    assert!(error.hint().unwrap().contains("echo r.example | docker-credential-pass get"));
    machine.program("pass", "#!/bin/sh\necho hunter2\n");
    let error = machine.find("r.example", "app").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn broken_files_are_named_by_line_and_never_quoted() {
    for (text, line) in [
        ("{\"auths\": {\n\"r.example\": {\"auth\": \"hunter2\",}\n}}", 2),
        ("{\"auths\": {\n\n\"r.example\": {\"auth\": [\"hunter2\"]}}}", 3),
        ("{\"auths\": {\n\n\"r.example\": \"hunter2\"}}", 3),
        ("{\"auths\": {\n\"r.example\": {\"auth\": \"hunter2!\"}}}", 2),
        // hunter2 in base64, without a name
        ("{\"auths\": {\n\n\n\"r.example\": {\"auth\": \"aHVudGVyMg==\"}}}", 4),
    ] {
        let error = Machine::docker(text).find("r.example", "app").unwrap_err();
        let words = format!("{error} {error:?}");
        assert!(words.contains(&format!("config.json:{line} ")), "{words}");
        assert!(!words.contains("hunter2") && !words.contains("aHVu"), "{words}");
        assert!(error.hint().is_some());
    }
    assert_eq!(Machine::docker("").found("r.example", "app"), None);
    assert_eq!(Machine::docker(r#"{"auths": null}"#).found("r.example", "app"), None);
}

#[test]
fn secrets_are_not_shown() {
    for login in [
        Login::Password { username: "me".to_owned(), password: "hunter2".to_owned() },
        Login::IdentityToken("hunter2".to_owned()),
        Login::RegistryToken("hunter2".to_owned()),
    ] {
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}

use super::*;

fn resolve(text: &str) -> Result<ResolvedMount, MountError> {
    let mount = Mount { text: text.to_owned(), span: 0..0 };
    mount.resolve(&Lexer::new('\\'), &mut |name| (name == "ID").then(|| "pip".to_owned()))
}

/// What the mount resolves to, or the field at fault and why.
fn outcome(text: &str) -> String {
    match resolve(text) {
        Ok(mount) => format!("{mount:?}"),
        Err(error) => format!("{}: {}", &text[error.field.clone()], error.problem),
    }
}

#[test]
fn keys_of_all_types() {
    let cache = ResolvedMount {
        kind: MountKind::Cache,
        id: Some("pip-x".to_owned()),
        target: Some("/root/.cache".to_owned()),
        sharing: Some(Sharing::Locked),
        mode: Some(0o755),
        uid: Some(1000),
        ..ResolvedMount::default()
    };
    let text = "type=CACHE,id=${ID}-x,dst=/root/.cache,sharing=locked,mode=0755,uid=1000";
    assert_eq!(resolve(text), Ok(cache));
    let bind = resolve("source=a,target=/b,from=base").unwrap();
    assert_eq!(
        (bind.kind, bind.read_only, bind.from.as_deref()),
        (MountKind::Bind, true, Some("base"))
    );
    assert!(!resolve("target=/b,rw").unwrap().read_only);
    assert!(!resolve("target=/b,readonly=false").unwrap().read_only);
    assert_eq!(resolve("type=tmpfs,target=/t,size=64m").unwrap().size, Some(64 << 20));
    let secret = resolve("type=secret,id=token,env=TOKEN,required").unwrap();
    assert!(secret.required && secret.env.as_deref() == Some("TOKEN"));
    assert!(!resolve("type=ssh,required=false,mode=0600").unwrap().required);
    assert_eq!(resolve(r#"type=bind,"target=/a,b""#).unwrap().target.as_deref(), Some("/a,b"));
}

#[test]
fn faults_point_at_the_field() {
    insta::assert_snapshot!(outcome("type=cahce,target=/a"), @"type=cahce: `cahce` is no value for `type`");
    insta::assert_snapshot!(outcome("type=cache,traget=/a"), @"traget=/a: unknown key `traget`");
    insta::assert_snapshot!(outcome("type=cache,target"), @"target: `target` needs a value");
    insta::assert_snapshot!(outcome("type=tmpfs,uid=1"), @"uid=1: `uid` does not apply to a tmpfs mount");
    insta::assert_snapshot!(outcome("type=bind,sharing=shared"), @"sharing=shared: `sharing` does not apply to a bind mount");
    insta::assert_snapshot!(outcome("type=cache,mode=9"), @"mode=9: `9` is no value for `mode`");
    insta::assert_snapshot!(outcome("type=secret"), @"type=secret: a secret mount needs `id`, `source` or `target`");
    insta::assert_snapshot!(outcome("type=secret,id=a,src=b"), @"id=a: a secret mount takes `id` or `source`, not both");
    insta::assert_snapshot!(outcome("from=$ID,target=/a"), @"from=$ID: `from` takes no variables");
    insta::assert_snapshot!(outcome("a\"b"), @"a\"b: quotes do not match");
    insta::assert_snapshot!(outcome("target=${X:?},ro"), @"target=${X:?}: cannot expand `${X:?}`: X: is not allowed to be unset");
    let hint = resolve("type=cahce").unwrap_err().hint();
    assert_eq!(hint.as_deref(), Some("did you mean `cache`?"));
}

#[test]
fn what_depends_on_variables_is_checked_later() {
    let check = |text: &str| Mount { text: text.to_owned(), span: 0..0 }.check(&Lexer::new('\\'));
    assert_eq!(check("type=$KIND,uid=$UID,target=/a"), Ok(()));
    assert!(check("type=$KIND,uid=x").is_err());
    assert!(check("type=$KIND,nokey=1").is_err());
}

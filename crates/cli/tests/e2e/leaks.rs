//! What the machine lends to a step is seen there, and in no image.

use crate::bench::Bench;
use crate::needs;

const LOOK: &str = "FROM root\n\
    RUN echo lent-begin; cat /etc/resolv.conf /etc/hosts; env; cat \"$SSL_CERT_FILE\"; \
        ls /proc/self /sys /dev /dev/.anyarch > /dev/null && echo all-there; \
        head -c 1 /dev/urandom > /dev/null && echo random; echo into > /dev/null\n\
    RUN echo left > /left\n";

const PEM: &str = "-----BEGIN CERTIFICATE-----\nbm90IGEgcmVhbCBvbmU=\n-----END CERTIFICATE-----\n";

fn lent(bench: &Bench) -> std::process::Command {
    bench.write("ca.pem", PEM);
    let mut command = bench.command(&["build", "--progress", "json", "--ca", "ca.pem"]);
    command.env("HTTP_PROXY", "http://proxy.example:3128").env("no_proxy", "local.example");
    command
}

#[test]
fn steps_see_what_is_lent_needs_userns() {
    needs!("userns");
    let bench = Bench::one(LOOK);
    let said = bench.finish(&mut lent(&bench)).success().output_of_steps();
    for line in [
        "all-there",
        "random",
        "HTTP_PROXY=http://proxy.example:3128",
        "no_proxy=local.example",
        "SOURCE_DATE_EPOCH=315532800",
        "PIP_CERT=/dev/.anyarch/ca.crt",
        "bm90IGEgcmVhbCBvbmU=",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} is missing in {said}");
    }
    assert!(said.contains("localhost"), "{said}");
}

#[test]
fn images_hold_nothing_that_was_lent_needs_userns() {
    needs!("userns");
    let bench = Bench::one(LOOK);
    bench.finish(&mut lent(&bench)).success();
    let manifest = bench.manifest();
    assert_eq!(manifest.layers.len(), 2, "the step that only looks leaves no layer");
    assert_eq!(bench.layer(1), "left Regular 644 0:0 \"left\\n\"\n");
    let config = String::from_utf8(bench.blob(&manifest.config.digest.to_string())).unwrap();
    for word in ["proxy.example", "local.example", "ca.crt", "SOURCE_DATE_EPOCH=", "PIP_CERT"] {
        assert!(!config.contains(word), "{word} is in {config}");
    }
    let base = bench.layer(0);
    for path in ["resolv.conf", "etc/hosts", "dev/", "proc/", "sys/"] {
        assert!(!base.contains(path), "{path} is in {base}");
    }
}

#[test]
fn what_is_lent_does_not_count_needs_userns() {
    needs!("userns");
    let bench = Bench::one(LOOK);
    let digest = bench.build();
    let again = bench.finish(&mut lent(&bench)).success();
    assert_eq!(again.steps_that_ran(), Vec::<String>::new());
    assert_eq!(bench.build(), digest);
}

#[test]
fn files_of_an_image_under_what_is_lent_stay_as_they_are_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nCOPY files/main /etc/hosts\nRUN echo x > /other\n");
    assert!(bench.layer(1).contains("etc/hosts Regular 644 0:0 \"main\\n\""), "{}", bench.layer(1));
    assert_eq!(bench.layer(2), "other Regular 644 0:0 \"x\\n\"\n");
}

#[test]
fn steps_do_not_see_this_machine_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nRUN echo host:$(cat /proc/sys/kernel/hostname); ls /proc; echo pid:$$; env\n",
    );
    let mut command = bench.command(&["build", "--progress", "json"]);
    command.env("SECRET_OF_THIS_MACHINE", "1");
    let said = bench.finish(&mut command).success().output_of_steps();
    assert!(said.contains("host:anyarch\n"), "{said}");
    assert!(!said.contains("SECRET_OF_THIS_MACHINE"), "{said}");
    let processes = said.lines().filter(|line| line.parse::<u32>().is_ok()).count();
    assert!((1..6).contains(&processes), "{said}");
}

//! Instructions and flags of the Dockerfile reference, by what they leave.

use std::io::{Read, Write};
use std::net::TcpListener;

use anyarch_oci::Digest;

use crate::bench::Bench;
use crate::needs;

/// Serves one file over HTTP, whatever is asked for; the address.
pub fn serve(content: impl Into<Vec<u8>>) -> String {
    let content: Vec<u8> = content.into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut connection = connection;
            let mut request = [0; 4096];
            drop(connection.read(&mut request));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
            drop(connection.write_all(&[head.as_bytes(), &content].concat()));
        }
    });
    format!("http://{address}")
}

#[test]
fn a_linked_copy_does_not_follow_links_below_and_is_cached_over_another_base_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nCOPY --link files/main /var/link/\n");
    bench.build();
    let layer = bench.layer(1);
    assert!(layer.contains("var/link/main"), "{layer}");
    // What is below changes, and the layer stays as it is.
    bench.write("base/rootfs/etc/new", "new");
    let ran = bench.steps_that_run();
    assert_eq!(ran, ["COPY rootfs/ /"], "{ran:?}");
}

#[test]
fn parents_are_kept_from_the_pivot_on_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nCOPY --parents files/a/./b/*.txt /one/\nCOPY --parents files/a/b/x.txt files/main /two/\n",
    );
    bench.write("app/files/a/b/x.txt", "x");
    bench.write("app/files/a/b/y.txt", "y");
    bench.write("app/files/a/b/z.md", "z");
    bench.build();
    let (one, two) = (bench.layer(1), bench.layer(2));
    assert!(one.contains("one/b/x.txt") && one.contains("one/b/y.txt"), "{one}");
    assert!(!one.contains("z.md") && !one.contains("files"), "{one}");
    assert!(two.contains("two/files/a/b/x.txt") && two.contains("two/files/main"), "{two}");
    assert!(!two.contains("y.txt"), "{two}");
}

#[test]
fn what_is_excluded_is_neither_copied_nor_part_of_the_key_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nCOPY --exclude=*.md --exclude=sub/skip files/ /x/\n");
    bench.write("app/files/read.md", "md");
    bench.write("app/files/sub/keep.md", "kept: the pattern is for the top");
    bench.write("app/files/sub/skip", "skip");
    bench.build();
    let layer = bench.layer(1);
    assert!(layer.contains("x/main") && layer.contains("x/sub/keep.md"), "{layer}");
    assert!(!layer.contains("read.md") && !layer.contains("skip"), "{layer}");
    bench.write("app/files/read.md", "changed");
    assert_eq!(bench.steps_that_run(), Vec::<String>::new());
    bench.write("app/files/main", "changed");
    assert_eq!(bench.steps_that_run().len(), 1);
}

#[test]
fn a_file_of_the_network_is_added_and_its_digest_demanded_needs_userns() {
    needs!("userns");
    let address = serve("content\n");
    let digest = Digest::sha256(b"content\n");
    let bench = Bench::one(&format!(
        "FROM root\nADD {address}/some/file.txt?x=1 /net/\nADD --checksum={digest} --chmod=0644 {address}/f /net/other\n"
    ));
    bench.build();
    let layer = bench.layer(1);
    assert!(layer.contains("net/file.txt Regular 600 0:0"), "{layer}");
    assert!(bench.layer(2).contains("net/other"), "{}", bench.layer(2));
    assert_eq!(bench.steps_that_run(), Vec::<String>::new());
    let wrong = Digest::sha256(b"else");
    bench.dockerfile(&format!("FROM root\nADD --checksum={wrong} {address}/f /net/\n"));
    let said = bench.fails(["build", "--quiet"]);
    assert!(said.contains(&wrong.to_string()) && said.contains(&digest.to_string()), "{said}");
}

#[test]
fn triggers_run_where_the_image_is_built_on_and_are_gone_then_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root AS parent\nONBUILD COPY files/main /seen\nONBUILD ENV TRIGGERED=yes\nFROM parent\nRUN cat /seen > /again\n",
    );
    bench.build();
    let config = bench.config();
    assert!(config.config.env.iter().any(|entry| entry == "TRIGGERED=yes"), "{config:?}");
    assert!(config.config.on_build.is_empty());
    assert!(bench.layer(2).contains("again"), "{}", bench.layer(2));
}

#[test]
fn triggers_are_recorded_in_the_image_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nONBUILD RUN echo later\n");
    bench.build();
    assert_eq!(bench.config().config.on_build, ["RUN echo later"]);
}

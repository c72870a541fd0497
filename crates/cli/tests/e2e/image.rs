//! What instructions leave in an image: configuration, history, files.

use std::fs;

use snapbox::{assert_data_eq, str};

use crate::bench::Bench;
use crate::needs;

#[test]
fn configuration_and_history_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        r#"FROM root
ARG VERSION=1
ENV NAME=demo GREETING="hello ${NAME:-x} $VERSION"
LABEL org.opencontainers.image.title="a title" empty=""
WORKDIR /srv
WORKDIR sub
RUN echo hello > file
RUN true
COPY files/main /app/
EXPOSE 80 53/udp 8000-8001
VOLUME ["/data", "/cache"]
USER ada:staff
SHELL ["/bin/sh", "-ec"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=1m --retries=2 CMD test -e /app/main
STOPSIGNAL SIGUSR1
ENTRYPOINT ["/bin/cat"]
CMD ["/app/main"]
"#,
    );
    let config = serde_json::to_value(bench.config()).unwrap();
    let mut config = config;
    let rootfs = config["rootfs"]["diff_ids"].as_array().unwrap().len();
    let filled =
        config["history"].as_array().unwrap().iter().filter(|h| h["empty_layer"] != true).count();
    assert_eq!((rootfs, filled), (5, 5), "one entry of history for each layer");
    config["rootfs"] = "[ROOTFS]".into();
    config["architecture"] = "[ARCH]".into();
    assert_data_eq!(
        format!("{config:#}\n"),
        str![[r#"
{
  "architecture": "[ARCH]",
  "os": "linux",
  "created": "1980-01-01T00:00:00Z",
  "config": {
    "User": "ada:staff",
    "ExposedPorts": {
      "53/udp": {},
      "80/tcp": {},
      "8000/tcp": {},
      "8001/tcp": {}
    },
    "Env": [
      "PATH=/bin",
      "NAME=demo",
      "GREETING=hello x 1"
    ],
    "Entrypoint": [
      "/bin/cat"
    ],
    "Cmd": [
      "/app/main"
    ],
    "Healthcheck": {
      "Test": [
        "CMD-SHELL",
        "test -e /app/main"
      ],
      "Interval": 30000000000,
      "Timeout": 5000000000,
      "StartPeriod": 60000000000,
      "Retries": 2
    },
    "Volumes": {
      "/cache": {},
      "/data": {}
    },
    "WorkingDir": "/srv/sub",
    "Labels": {
      "empty": "",
      "org.opencontainers.image.title": "a title"
    },
    "StopSignal": "SIGUSR1",
    "Shell": [
      "/bin/sh",
      "-ec"
    ]
  },
  "rootfs": "[ROOTFS]",
  "history": [
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "COPY rootfs/ /",
      "comment": "anyarch"
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "ENV PATH=/bin",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "ARG VERSION=1",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "ENV NAME=demo GREETING=/"hello ${NAME:-x} $VERSION/"",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "LABEL org.opencontainers.image.title=/"a title/" empty=/"/"",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "WORKDIR /srv",
      "comment": "anyarch"
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "WORKDIR /srv/sub",
      "comment": "anyarch"
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "RUN |1 VERSION=1 /bin/sh -c echo hello > file",
      "comment": "anyarch"
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "RUN |1 VERSION=1 /bin/sh -c true",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "COPY files/main /app/",
      "comment": "anyarch"
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "EXPOSE 80 53/udp 8000-8001",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "VOLUME [/"/data/", /"/cache/"]",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "USER ada:staff",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "SHELL [/"/bin/sh/", /"-ec/"]",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "HEALTHCHECK --interval=30s --timeout=5s --start-period=1m --retries=2 CMD test -e /app/main",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "STOPSIGNAL SIGUSR1",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "ENTRYPOINT [/"/bin/cat/"]",
      "comment": "anyarch",
      "empty_layer": true
    },
    {
      "created": "1980-01-01T00:00:00Z",
      "created_by": "CMD [/"/app/main/"]",
      "comment": "anyarch",
      "empty_layer": true
    }
  ]
}

"#]]
    );
}

#[test]
fn entrypoint_forgets_an_inherited_command_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nENTRYPOINT [\"/bin/ls\"]\n");
    bench.write("base/Dockerfile", "FROM scratch\nCOPY rootfs/ /\nCMD [\"/bin/sh\"]\nUSER ada\n");
    let config = bench.config().config;
    assert_eq!((config.cmd, config.user.as_str()), (None, "ada"));
    assert_eq!(config.entrypoint, Some(vec!["/bin/ls".to_owned()]));
}

#[test]
fn stages_copy_from_each_other_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root AS build\nENV X=1\nRUN mkdir /out && echo built > /out/program && ln -s program /out/link\n\
         FROM build AS more\nRUN echo more$X > /out/more\n\
         FROM root AS unused\nRUN exit 9\n\
         FROM root\nCOPY --from=build /out/ /opt/\nCOPY --from=1 /out/more /opt/deep/er\n\
         COPY --from=more --chown=ada /out/m* /home/ada/\n",
    );
    let ran = bench.steps_that_run();
    assert!(!ran.iter().any(|step| step.contains("exit 9")), "{ran:?}");
    assert_data_eq!(
        bench.layer(1) + &bench.layer(2) + &bench.layer(3),
        str![[r#"
opt/ Directory 755 0:0
opt/link Symlink 777 0:0 -> program
opt/program Regular 644 0:0 "built/n"
opt/ Directory 755 0:0
opt/deep/ Directory 755 0:0
opt/deep/er Regular 644 0:0 "more1/n"
home/ Directory 755 1000:1000
home/ada/ Directory 755 1000:1000
home/ada/more Regular 644 1000:1000 "more1/n"

"#]]
    );
}

#[test]
fn here_documents_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nARG NAME=world\nRUN <<EOF\necho one\necho \"two $NAME\" > /two\nEOF\n\
         RUN <<-'EOF' cat > /three\n\tthree $NAME\n\tEOF\n\
         COPY <<ONE <<\"TWO\" /docs/\nhello $NAME\nONE\nhello $NAME\nTWO\n\
         RUN <<EOF\n#!/bin/cp -t/bin\nEOF\n",
    );
    assert_data_eq!(
        (1..=4).map(|n| bench.layer(n)).collect::<String>(),
        str![[r##"
two Regular 644 0:0 "two world/n"
three Regular 644 0:0 "three $NAME/n"
docs/ Directory 755 0:0
docs/ONE Regular 644 0:0 "hello world/n"
docs/TWO Regular 644 0:0 "hello $NAME/n"
bin/ Directory 755 0:0
bin/EOF Regular 755 0:0 "#!/bin/cp -t/bin/n"

"##]]
    );
}

#[test]
fn arguments_and_environment_in_run_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "ARG BASE_IMAGE\nARG GLOBAL=from-above\nFROM ${BASE_IMAGE}\n\
         RUN echo a:${GLOBAL:-unset}\n\
         ARG GLOBAL\nRUN echo b:$GLOBAL\n\
         ARG PLAIN=arg\nENV PLAIN=env\nRUN echo c:$PLAIN\n\
         ENV A=1 B=$A\nENV C=$A\nRUN echo d:[$B][$C]\n\
         ARG TARGETARCH TARGETOS\nRUN echo e:$TARGETOS:${TARGETARCH:+set}\n\
         USER ada\nRUN echo f:$(id -u):$(id -g):$(id -G):$HOME\n\
         USER 7:8\nRUN echo g:$(id -u):$(id -g):$HOME\n\
         SHELL [\"/bin/sh\", \"-uc\"]\nRUN echo h:$-\n\
         WORKDIR /tmp/x\nRUN echo i:$PWD\n\
         RUN [\"/bin/sh\", \"-c\", \"echo j:$0 exec\"]\n",
    );
    bench.write("Makefile", "");
    let said = bench.printed_by_run();
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_data_eq!(
        lines.join("\n") + "\n",
        str![[r#"
a:unset
b:from-above
c:env
d:[][1]
e:linux:set
f:1000:1000:1000 50:/home/ada
g:7:8:/
h:u
i:/tmp/x
j:/bin/sh exec

"#]]
    );
    let env = bench.config().config.env;
    assert_eq!(env, ["PATH=/bin", "PLAIN=env", "A=1", "B=", "C=1"]);
}

#[test]
fn archive_is_unpacked_by_add_and_copied_by_copy_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nADD files.tar.gz /added/\nCOPY files.tar.gz /copied/\nADD files/main /added/plain\n",
    );
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o640);
    header.set_uid(1000);
    header.set_gid(50);
    header.set_size(3);
    archive.append_data(&mut header, "in/side", &b"abc"[..]).unwrap();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "in/link", "/absolute").unwrap();
    bench.write("app/files.tar.gz", archive.into_inner().unwrap().finish().unwrap());
    let text = bench.layer(1) + &bench.layer(2) + &bench.layer(3);
    assert!(text.contains("in/side Regular 640 1000:50 \"abc\""), "{text}");
    assert!(text.contains("in/link Symlink 777 1000:50 -> /absolute"), "{text}");
    assert!(text.contains("copied/files.tar.gz Regular"), "{text}");
    assert!(text.contains("added/plain Regular 644 0:0 \"main\\n\""), "{text}");
}

#[test]
fn owners_and_modes_of_copies_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nCOPY --chown=ada files/main /a\nCOPY --chown=ada:staff files/main /b\n\
         COPY --chown=7:8 --chmod=4750 files/ /c/\nCOPY --chmod=u+x,go-r files/main /d\n",
    );
    assert_data_eq!(
        (1..=4).map(|n| bench.layer(n)).collect::<String>(),
        str![[r#"
a Regular 644 1000:1000 "main/n"
b Regular 644 1000:50 "main/n"
c/ Directory 755 7:8
c/main Regular 4750 7:8 "main/n"
c/other Regular 4750 7:8 "other/n"
d Regular 700 0:0 "main/n"

"#]]
    );
}

#[test]
fn removed_and_replaced_files_become_whiteouts_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nRUN mkdir -p /d/e && echo 1 > /d/e/f && echo 2 > /d/g\n\
         RUN rm /d/g && rm -r /d/e && mkdir /d/e && echo 3 > /d/e/new\nRUN rm -r /d && echo 4 > /d\n",
    );
    assert_data_eq!(
        (2..=3).map(|n| bench.layer(n)).collect::<String>(),
        str![[r#"
d/ Directory 755 0:0
d/.wh.g Regular 600 0:0
d/e/ Directory 755 0:0
d/e/.wh..wh..opq Regular 600 0:0
d/e/new Regular 644 0:0 "3/n"
d Regular 644 0:0 "4/n"

"#]]
    );
}

#[test]
fn run_that_changes_nothing_makes_no_layer_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nRUN true\nRUN touch /x && rm /x\nRUN cat /etc/passwd\n");
    assert_eq!(bench.manifest().layers.len(), 1);
    let history = bench.config().history;
    assert_eq!(history.iter().filter(|entry| entry.empty_layer).count(), 4, "{history:?}");
}

#[test]
fn copied_files_that_step_over_links_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nRUN mkdir /real && ln -s /real /link && ln -s ../../../../etc /out\n\
         COPY files/main /link/\nCOPY files/main /out/copied\n",
    );
    let text = bench.layer(2) + &bench.layer(3);
    assert!(text.contains("real/main Regular"), "{text}");
    assert!(text.contains("etc/copied Regular"), "{text}");
    assert!(!fs::exists("/etc/copied").unwrap(), "it left the root");
}

#[test]
fn working_directory_that_is_gone_is_made_again_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nWORKDIR /work\nRUN cd / && rm -r /work\nRUN pwd > /where\n");
    bench.build();
    let last = bench.manifest().layers.len() - 1;
    let layer = bench.layer(last);
    assert!(layer.contains("\"/work\\n\"") && layer.contains("work/ Directory"), "{layer}");
}

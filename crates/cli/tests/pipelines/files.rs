//! Files that are wrong: each fault is named, nothing begins, and the pipelines beside it go on.

use crate::galgo::Rig;
use crate::target::{SqliteFile, Target, assert_once};

#[test]
fn a_file_that_is_wrong_is_named_and_the_others_run() {
    let folder = tempfile::tempdir().unwrap();
    let target = SqliteFile(folder.path().join("orders.db"));
    let rig = Rig::start();
    rig.send(0..50);
    let good = rig.pipeline("good", &target.section());
    let wrong = [
        ("unknown-key", "[to.sqlite]\nfile = \"x.db\"\ntable = \"t\"\ntabel = \"u\"\n", "tabel"),
        ("unknown-kind", "[to.sqlit]\nfile = \"x.db\"\n", "sqlit"),
        (
            "bad-jq",
            "[[transform]]\njq = \".a |\"\n[to.sqlite]\nfile = \"x.db\"\ntable = \"t\"\n",
            "jq",
        ),
        (
            "no-table",
            "[to.sqlite]\nfile = \"y.db\"\ntable = \"t\"\ncreate = false\n",
            "table t is not there",
        ),
    ];
    for (name, section, named) in wrong {
        let file = rig.pipeline(name, section);
        let said = rig.says(&["connect", "check", file.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&said.stderr).into_owned()
            + &String::from_utf8_lossy(&said.stdout);
        assert!(!said.status.success() && text.contains(named), "{name}: {text}");
        let both =
            rig.says(&["connect", "run", "--once", good.to_str().unwrap(), file.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&both.stderr).into_owned()
            + &String::from_utf8_lossy(&both.stdout);
        assert!(!both.status.success() && text.contains(named), "{name}: {text}");
    }
    assert_once("the good one", target.rows(), 0..50);
}

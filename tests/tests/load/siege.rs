//! The short form of the load: many users, a quarter of them hostile in every way that is known.
//! `cargo run --release -p fdbroker-tests --bin fdbroker-load` measures it.

use std::time::Duration;

use fdbroker_tests::siege::Siege;
use fdbroker_tests::{needs_root, sys, turns};

#[test]
fn hostile_users_cost_the_others_no_answer_and_leave_nothing() {
    if !needs_root("many users, some of them hostile") {
        return;
    }
    let _turn = turns::alone();
    sys::raise_descriptors();
    let siege = Siege {
        connections: 240,
        users: 8,
        hostile: 2,
        attacked: Duration::from_secs(10),
        // Each connection is made again within that.
        alone: Duration::from_secs(5),
        every: Duration::from_millis(200),
    };
    let report = siege.run();
    eprintln!("{report}");
    // How long anything takes is not asked here, but that nothing hangs.
    assert_eq!(report.missed(None), Vec::<String>::new(), "{report}");
}

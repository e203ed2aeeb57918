//! Properties of the state machine over mutated and random inputs. Each asserts how much it did.

mod amounts;
mod bytes;
mod proposals;

use std::sync::OnceLock;

use lockstep_chain::wire::any;
use lockstep_tests::actions;
use lockstep_tests::cluster::Cluster;
use lockstep_tests::genesis::{genesis, params};

/// A chain with models and a job whose committee is about to commit; its last extended commit has
/// four votes, of powers 100, 50, 60 and 70.
fn fixture() -> Cluster {
    let mut cluster = actions::with_models(&genesis(&[100, 50, 60, 70], params()));
    let job = any(&actions::job("dev0", "child", &[1, 2, 3]));
    let tx = cluster.tx("dev0", vec![job]);
    cluster.deliver(vec![tx]);
    cluster.run(1);
    cluster
}

/// One that is made once, for reading.
fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(fixture)
}

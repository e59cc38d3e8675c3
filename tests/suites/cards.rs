//! Character cards: a set of all versions and formats that the suite makes, broken and hostile files, lorebooks, and what the
//! prompt builder makes of it all. Needs neither an adapter nor a network.

use std::process::ExitCode;

use guanaco_tests::Suite;
use guanaco_tests::counting::Counting;

#[path = "cards/lore.rs"]
mod lore;
#[path = "cards/make.rs"]
mod make;
#[path = "cards/malformed.rs"]
mod malformed;
#[path = "cards/play.rs"]
mod play;
#[path = "cards/round.rs"]
mod round;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    round::cases(&mut suite);
    malformed::cases(&mut suite);
    lore::cases(&mut suite);
    play::cases(&mut suite);
    suite.run(None)
}

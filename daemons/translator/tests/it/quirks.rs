//! What firmware in the field does that a pool of today has to bear, by the numbers of the list that these tests were made
//! from. What is not in here is in the file named.
//!
//! | no. | what | where |
//! |---|---|---|
//! | 1-6 | order, user agents, users, passwords, ids, `mining.configure` | [`handshake`]; ids also `sv1/message/tests.rs` |
//! | 7 | five or six parameters, version bits | [`work`] |
//! | 8 | a pool that allows no version rolling | `jobs.rs` |
//! | 9-10 | sizes of extranonces | `bridge/tests.rs`, [`work`] |
//! | 11 | a new extranonce prefix | `jobs.rs`: it is a new job, nothing has to be announced |
//! | 12-14 | difficulty with a job, kept by it, as text | `jobs.rs`, [`difficulty`] |
//! | 15 | suggestions of difficulty | [`difficulty`], `dialogue.rs` |
//! | 16 | silence | [`difficulty`] |
//! | 17 | rental markets | `dialogue.rs`, `difficulty.rs` of the library |
//! | 18 | lines | [`transport`], `sv1/line.rs` |
//! | 19 | length of our own lines | [`work`] |
//! | 20, 23 | calls beside mining, shapes of answers | [`transport`], `dialogue.rs` |
//! | 21 | `client.reconnect` | `upstream.rs`, [`transport`] |
//! | 22 | keeping alive | `downstream/tests.rs` |
//! | 24 | late shares | `shares.rs` |
//! | 25 | the burst after a reconnect | [`work`] |
//! | 26 | a channel that the pool closes | `jobs.rs` |
//! | 27 | ntime | [`work`] |

mod difficulty;
mod handshake;
mod transport;
mod work;

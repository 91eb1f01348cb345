//! A bad network: each host's datagrams pass through a socket of its own here, and some are lost, each way. A host can be cut
//! off for good.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Result;

/// Larger datagrams are not sent.
const DATAGRAM_MAX: usize = 2048;

/// The sockets of all hosts.
#[derive(Debug)]
pub(crate) struct Relay {
    runtime: tokio::runtime::Runtime,
    loss_permille: u64,
    cut_off: Vec<Arc<AtomicBool>>,
    chance: Arc<AtomicU64>,
}

impl Relay {
    /// A network that loses so many of a thousand datagrams each way, by chance from `seed`.
    pub(crate) fn new(loss_permille: u64, seed: u64) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime, loss_permille, cut_off: Vec::new(), chance: Arc::new(AtomicU64::new(seed)) })
    }

    /// Adds the next host's way to the coordinator, and answers where the host finds it.
    pub(crate) fn add(&mut self, coordinator: SocketAddr) -> Result<SocketAddr> {
        let near = UdpSocket::bind("127.0.0.1:0")?;
        let address = near.local_addr()?;
        let far = UdpSocket::bind("127.0.0.1:0")?;
        far.connect(coordinator)?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let cut_off = Arc::new(AtomicBool::new(false));
        self.cut_off.push(Arc::clone(&cut_off));
        let way = Way { loss_permille: self.loss_permille, cut_off, chance: Arc::clone(&self.chance) };
        let _inside = self.runtime.enter();
        let near = tokio::net::UdpSocket::from_std(near)?;
        let far = tokio::net::UdpSocket::from_std(far)?;
        self.runtime.spawn(async move { way.carry(near, far).await });
        Ok(address)
    }

    /// From now on nothing of a host comes through, in either direction. Hosts are counted from 0.
    pub(crate) fn cut_off(&self, host: usize) {
        self.cut_off[host].store(true, Ordering::Relaxed);
    }
}

/// One host's way.
struct Way {
    loss_permille: u64,
    cut_off: Arc<AtomicBool>,
    chance: Arc<AtomicU64>,
}

impl Way {
    async fn carry(self, near: tokio::net::UdpSocket, far: tokio::net::UdpSocket) {
        let (mut out, mut back) = ([0; DATAGRAM_MAX], [0; DATAGRAM_MAX]);
        let mut host = None;
        loop {
            // A coordinator that is not there yet is as good as a lost datagram.
            tokio::select! {
                Ok((length, from)) = near.recv_from(&mut out) => {
                    host = Some(from);
                    if self.comes_through() {
                        let _ = far.send(&out[..length]).await;
                    }
                }
                received = far.recv(&mut back) => {
                    if let (Ok(length), Some(host)) = (received, host) && self.comes_through() {
                        let _ = near.send_to(&back[..length], host).await;
                    }
                }
            }
        }
    }

    fn comes_through(&self) -> bool {
        let mut mixed = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        !self.cut_off.load(Ordering::Relaxed) && (mixed ^ (mixed >> 31)) % 1000 >= self.loss_permille
    }
}

//! A line between a wallet and a card that holds for so many commands. The one after them never
//! reaches the card: whoever listens takes the card's power away instead.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use tokio::sync::oneshot;
use tsm_se::readers::{Control, Message, RemoteCard, read_message, write_frame};

/// The demo's end of the line.
pub struct Line {
    /// What the wallet dials.
    pub address: SocketAddr,
    /// Comes when the last command has been answered and another one was sent.
    pub worn: oneshot::Receiver<()>,
    /// Dropped when the card has no power any more: then the wallet's connection breaks.
    pub gone: oneshot::Sender<()>,
}

impl Line {
    /// A line to the contact interface of `card` that holds for `commands` commands.
    pub fn to(card: SocketAddr, commands: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (wearing, worn) = oneshot::channel();
        let (gone, waiting) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let Ok((wallet, _)) = listener.accept() else { return };
            if carry(&wallet, card, commands).is_ok_and(|end| end == End::Worn) && wearing.send(()).is_ok() {
                // Nothing is ever sent: the wait ends when the other half is dropped.
                let _ = waiting.blocking_recv();
            }
        });
        Ok(Self { address, worn, gone })
    }
}

/// How the line ended.
#[derive(PartialEq, Eq)]
enum End {
    /// As many commands as it holds for have passed.
    Worn,
    /// The wallet went away.
    HungUp,
}

fn carry(wallet: &TcpStream, card: SocketAddr, commands: u64) -> Result<End, Box<dyn std::error::Error>> {
    wallet.set_nodelay(true)?;
    let mut card = RemoteCard::dial(card)?;
    let mut answer_to_reset = card.power_on()?;
    let mut left = commands;
    let mut wire = wallet;
    loop {
        let Ok(message) = read_message(&mut wire) else { return Ok(End::HungUp) };
        match message {
            Message::Control(Control::PowerOn) => answer_to_reset = card.power_on()?,
            Message::Control(Control::AnswerToReset) => write_frame(&mut wire, &answer_to_reset)?,
            Message::Control(Control::Reset) => card.reset()?,
            Message::Control(Control::PowerOff) => {}
            Message::Command(_) if left == 0 => return Ok(End::Worn),
            Message::Command(command) => {
                left -= 1;
                let response = card.transmit(&command)?;
                write_frame(&mut wire, &response)?;
            }
        }
    }
}

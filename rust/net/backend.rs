// SPDX-License-Identifier: GPL-2.0

//! [`Socket`] as the backend of a queue.

use crate::{
    kapi::{
        socket::Socket,
        wait::Pollable, //
    },
    vhost::endpoint::Backend, //
};

impl Backend for Socket {
    fn file(&self) -> &Pollable {
        Socket::file(self)
    }
}

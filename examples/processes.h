// SPDX-License-Identifier: Apache-2.0
//
// Processes that work together: started before CUDA is used, joined by a socket each.

#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// Ends the process that cannot go on; whoever waits for it hears so.
inline void demand(bool is_right, const char *what) {
    if (!is_right) {
        std::fprintf(stderr, "process %d: %s\n", static_cast<int>(getpid()), what);
        std::_Exit(1);
    }
}

inline void tell(int socket, const void *bytes, size_t count) {
    demand(send(socket, bytes, count, MSG_NOSIGNAL) == static_cast<ssize_t>(count), "cannot tell");
}

inline void hear(int socket, void *bytes, size_t count) {
    demand(recv(socket, bytes, count, MSG_WAITALL) == static_cast<ssize_t>(count), "cannot hear");
}

template <typename T> void tell(int socket, const T &value) { tell(socket, &value, sizeof value); }

template <typename T> T hear(int socket) {
    T value;
    hear(socket, &value, sizeof value);
    return value;
}

union DescriptorMessage {
    cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

inline void tell_descriptor(int socket, int descriptor) {
    char byte = 0;
    iovec piece = {&byte, 1};
    DescriptorMessage control = {};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    demand(sendmsg(socket, &message, MSG_NOSIGNAL) == 1, "cannot hand a descriptor over");
}

inline int hear_descriptor(int socket) {
    char byte;
    iovec piece = {&byte, 1};
    DescriptorMessage control = {};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    demand(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1, "gets no descriptor");
    const cmsghdr *header = CMSG_FIRSTHDR(&message);
    demand(header != nullptr && header->cmsg_type == SCM_RIGHTS, "gets no descriptor");
    int descriptor;
    std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    return descriptor;
}

// Another process, and this one's end of the socket between them.
struct Process {
    pid_t id;
    int socket;

    // Whether it did all it had to.
    bool ends_well() {
        close(socket);
        int status = -1;
        return waitpid(id, &status, 0) == id && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
};

// `body` gets its end of the socket. Call it before anything of CUDA, which does not outlive fork().
template <typename Body> Process start_process(Body body) {
    int ends[2];
    demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "cannot make a socket");
    std::fflush(stdout);
    const pid_t id = fork();
    demand(id >= 0, "cannot fork");
    if (id == 0) {
        close(ends[0]);
        body(ends[1]);
        // Not exit(): what the parent has prepared to be done at its end is not this process's.
        std::_Exit(0);
    }
    close(ends[1]);
    return {id, ends[0]};
}

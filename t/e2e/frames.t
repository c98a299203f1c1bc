#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A program that has been broken into talks to the others: garbage, a frame over the limit, a type
# that does not exist, a frame out of turn, on each connection of each running program (its own
# descriptors, taken from it). The other side says what it refuses, closes, and mail goes on.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Socket;
use Test::More;

my $sink = Gatepost::Sink->new;
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, smtpd_client_connection_count_limit => 50,
    notify_classes => 'protocol', error_notice_recipient => 'errors@post.test' });
$gp->start;
my $serial = 0;

sub passes {
    my ($name) = @_;
    my $rcpt = 'r' . ++$serial . '@next.test';
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(wait_until(10, sub { $gp->mail('a@client.test', $rcpt, "Subject: $name\r\n\r\n")->{code} == 250 })
            && wait_until(10, sub { grep { $_->{rcpts}[0] eq $rcpt } $sink->messages }),
        "$name: a message goes through") or diag tail($gp->{log}, 20);
}

# The sending ends of all connections between processes that PID has.
sub connections {
    my ($pid) = @_;
    my $pidfd = syscall 434, $pid, 0;
    return if $pidfd < 0;
    my @found;
    for my $fd (sort { $a <=> $b } map {m{/(\d+)$}} glob "/proc/$pid/fd/*") {
        next if (readlink("/proc/$pid/fd/$fd") // '') !~ /^socket:/;
        my $own = syscall 438, $pidfd, $fd, 0;
        next if $own < 0;
        open my $sock, '+<&=', $own or die "fd $own: $!";
        my $name = getsockname $sock;
        my $type = getsockopt $sock, SOL_SOCKET, SO_TYPE;
        next if !$name || sockaddr_family($name) != AF_UNIX || unpack('i', $type) != SOCK_STREAM;
        next if unpack 'i', getsockopt $sock, SOL_SOCKET, 30;    # SO_ACCEPTCONN: a listener
        push @found, $sock;
    }
    POSIX::close($pidfd);
    return @found;
}

# One that has only begun is connected with nobody, and nobody listens to one that ends: false when none of it was sent.
sub say_as {
    my ($role, $bytes) = @_;
    my ($pid) = @{ $gp->roles->{$role} // [] };
    local $SIG{PIPE} = 'IGNORE';
    return scalar grep { defined send $_, $bytes, MSG_DONTWAIT } $pid ? connections($pid) : ();
}

sub frame {
    my ($type, $id, $body) = @_;
    return pack 'VvvQ<a*', length $body, $type, 0, $id, $body;
}
srand 20261121;
my %bad = (
    'garbage'           => join('', map { chr int rand 256 } 1 .. 300),
    'an oversized one'  => pack('VvvQ<', 0x7fffffff, 35, 0, 1) . 'x' x 4096,
    'an unknown type'   => frame(999, 1, ''),
    'one out of turn'   => frame(39, 77, ''),
    'a missing field'   => frame(43, 0, ''),
);
passes('before');
ok($gp->drained, 'nothing waits');
for my $role (qw(smtpd cleanup qmgr smtp-client resolver tally)) {
    for my $what (sort keys %bad) {
        $gp->mark;
        ok(wait_until(15, sub { say_as($role, $bad{$what}) && $gp->find_log(qr/warning: \S+: \S+ frame from \S+ refused: /, 1.5) }),
            "$what from $role: refused") or diag tail($gp->{log}, 20);
        passes("$what from $role");
    }
}

# What becomes mail to the postmaster: nobody can make any amount of it.
sub field { my ($nr, $type, $value) = @_; return pack 'CCva*', $nr, $type, length $value, $value }
my $transcript = frame(225, 0, join '', field(4, 1, pack 'Q<', 32), field(83, 2, 'SMTP client'), field(64, 2, 'a[127.0.0.1]:25'), field(5, 3, " Out: x\n"));
$gp->mark;
ok(wait_until(15, sub {
    say_as('smtp-client', $transcript x 400) && $gp->find_log(qr/qmgr\[\d+\]: warning: too many transcripts of sessions at once: some are left out/, 1.5);
}), 'too many transcripts from smtp-client') or diag tail($gp->{log}, 20);
passes('behind them');
ok($gp->drained, 'all of them are written');
my $told = grep { $_->{rcpts}[0] eq 'errors@post.test' } $sink->messages;
ok($told >= 100 && $told <= 115, 'as many as may be') or diag "$told transcripts";

$gp->{marks} = 0;
# The keeper is part of qmgr: fed with garbage in its name, both begin anew.
my @ends = grep { !/fatal: the keeper has ended/ } $gp->log_lines(qr/(?:panic|fatal):/);
is(scalar @ends, 0, 'nobody else ends by itself') or diag join "\n", @ends;
ok($gp->drained, 'nothing is left');
$gp->stop;
my %times;
$times{ $_->{rcpts}[0] }++ for $sink->messages;
delete $times{'errors@post.test'};
is(scalar(keys %times), $serial, 'every message has arrived');
done_testing;

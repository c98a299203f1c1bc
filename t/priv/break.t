#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A worker of smtpd is broken into, as far as that can be acted: it makes a forbidden system call, or
# reads where nothing is. Its own sessions end, none of their unfinished messages is acknowledged, the
# others go on, and a new worker serves at once, without back-off.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sink;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'a build with sanitizers has no filter'
    if slurp(build() . '/config.h') =~ /^#define GP_SANITIZE/m;
my $ptrace = (POSIX::uname())[4] eq 'aarch64' ? 117 : 101;
my $sink = Gatepost::Sink->new;
my $gp = Gatepost::Instance->new(
    main => { relayhost => '[127.0.0.1]:' . $sink->port, smtpd_client_port_logging => 'yes' });
$gp->start;
my $pace = Gatepost::Pace->new;

# Sessions in the middle of a message, by the worker that has them.
sub begin {
    my ($name, $n) = @_;
    my %of;
    for my $i (1 .. $n) {
        my $c = $gp->session or return;
        $c->send("MAIL FROM:<a\@x.test>\r\nRCPT TO:<$name$i\@y.test>\r\nDATA\r\n");
        $c->reply for 1 .. 2;
        is($c->reply->{code}, 354, "$name: session $i has begun its content");
        $c->send("Subject: $name$i\r\n\r\nhalf of it\r\n");
        my $port = $c->sock->sockport;
        my $line = $gp->find_log(qr/smtpd\[\d+\]: connect from \S+:$port$/);
        my ($pid) = $line =~ /smtpd\[(\d+)\]/;
        push @{ $of{$pid} }, { name => "$name$i", c => $c };
    }
    return \%of;
}

sub check {
    my ($name, $break, $line) = @_;
    $gp->mark;
    my $of = begin($name, 8);
    my ($victim) = sort { @{ $of->{$b} } <=> @{ $of->{$a} } } keys %$of;
    my @lost = @{ delete $of->{$victim} };
    my @others = map {@$_} values %$of;
    note(scalar(@lost) . ' sessions of the victim, ' . scalar(@others) . ' of others');
    # Only a new one can answer while these stand still.
    my @still = grep { $_ != $victim } @{ $gp->roles->{smtpd} };
    kill 'STOP', @still;
    my $broken_at = time;
    ok($break->($victim), "$name: a worker is broken into");
    my $is_served = wait_until(20, sub {
        my $c = $gp->client(timeout => 2) or return;
        return ($c->reply->{code} // 0) == 220;
    });
    ok($is_served && $pace->within(4, $broken_at), "$name: a new one serves");
    is(join("\n", $gp->log_lines(qr/started again in/)), '', "$name: at once");
    kill 'CONT', @still;
    $gp->wait_log($line, "$name: the log says what it was");
    # The rest of the content: whoever is left to take it.
    $_->{c}->send("the rest\r\n.\r\n") for @lost, @others;
    is(scalar(grep { $_->{c}->reply->{code} != 0 } @lost), 0, "$name: the worker's own sessions end without a reply");
    is(scalar(grep { $_->{c}->reply->{code} != 250 } @others), 0, "$name: the others are acknowledged");
    ok($gp->drained(20), "$name: nothing is left in the queue");
    my %came = map { $_->{rcpts}[0] =~ /^<?(\w+)/ ? ($1 => 1) : () } $sink->messages;
    is(join(' ', grep { $came{$_} } map { $_->{name} } @lost), '', "$name: none of the unfinished messages is delivered");
    is(join(' ', grep { !$came{$_} } map { $_->{name} } @others), '', "$name: all others are");
    ok(wait_until(20, sub { my @w = @{ $gp->roles->{smtpd} }; !grep { $_ == $victim } @w }), "$name: it is gone");
}

my $workers = @{ $gp->roles->{smtpd} };
check('call', sub { system(build() . '/t/priv/inject', $_[0], $ptrace) == 0 },
    qr/service \S+inet: process \d+ ended by a forbidden system call: ptrace\($ptrace\)$/);
ok(wait_until(20, sub { @{ $gp->roles->{smtpd} } == $workers }), 'a new worker has taken its place');
check('crash', sub { kill 'SEGV', $_[0] }, qr/process \S+smtpd pid \d+ killed by signal 11$/);
ok(wait_until(20, sub { @{ $gp->roles->{smtpd} } == $workers }), 'a new worker has taken its place');
# With the signal that would tell of it held back, the kernel ends the process.
check('signal', sub { kill 'SYS', $_[0] }, qr/process \S+smtpd pid \d+ exit status 159$/);

# Who holds the queue: whatever it was at is done by the next one.
for my $role (qw(cleanup qmgr smtp-client)) {
    $gp->mark;
    my ($pid) = @{ $gp->roles->{$role} };
    is(system(build() . '/t/priv/inject', $pid, $ptrace), 0, "$role is broken into");
    $gp->wait_log(qr/process $pid ended by a forbidden system call: ptrace\($ptrace\)$/, "$role: the log says so");
    # smtpd hears of the end of a cleanup by itself.
    ok(wait_until(20, sub { $gp->mail('a@x.test', "$role\@y.test", "Subject: x\r\n\r\nx\r\n")->{code} == 250 }), "$role: mail is taken");
    ok(wait_until(30, sub { grep { $_->{rcpts}[0] =~ /^<?\Q$role\E/ } $sink->messages }), "$role: and delivered");
}
$gp->stop;
done_testing;

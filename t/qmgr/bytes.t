#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What a recipient costs qmgr while it is in memory, all of it: envelope, state, place in the scheduler.
# Of a mailing to many at most 400 bytes; a message by itself costs more, which is said and bounded.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use IO::Socket::INET;
use Test::More;

# Takes connections, says nothing: what is out stays out.
my $mute = IO::Socket::INET->new(Listen => 1000, LocalAddr => '0.0.0.0') or die "listen: $!";
my ($port, $dests) = ($mute->sockport, 500);
my $routes = spew(tempdir('bytes') . '/routes', join '', map {
    sprintf "d%d.example.test one:[127.0.%d.%d]:%d\n", $_, 1 + $_ / 250, 1 + $_ % 250, $port } 0 .. $dests - 1);
my $gp = Gatepost::Instance->new(master => ['one unix - - n - 1 smtp-client'], main => {
    transport_maps => "texthash:$routes", smtpd_recipient_limit => 2000,
    qmgr_message_active_limit => 1000000, qmgr_message_recipient_limit => 1000000 });
$gp->start;

my $c = $gp->session;
my $active = 0;

# In one go; true when it is accepted.
sub mail {
    my (@rcpts) = @_;
    my $content = "Subject: x\r\n\r\nhello\r\n";
    $c->send(join '', "MAIL FROM:<news\@sender.example>\r\n", (map {"RCPT TO:<$_>\r\n"} @rcpts),
        'BDAT ' . length($content) . " LAST\r\n$content");
    my @replies = map { $c->reply } 0 .. @rcpts + 1;
    return !grep { $_->{code} != 250 } @replies;
}

# Bytes that qmgr has for itself, when it has all that was sent.
sub memory {
    my ($messages) = @_;
    $active += $messages;
    ok(wait_until(30, sub { $active == (() = $gp->log_lines(qr/\(queue active\)/)) }), "$active messages in memory");
    my ($pid) = @{ $gp->roles->{qmgr} };
    my ($last, $same) = (0, 0);
    wait_until(10, sub {
        my $now = (slurp("/proc/$pid/smaps_rollup") // '') =~ /^Anonymous:\s+(\d+) kB/m ? 1024 * $1 : 0;
        $same = $now == $last ? $same + 1 : 0;
        $last = $now;
        return $same > 5;
    });
    return $last;
}

ok(mail('first@d0.example.test'), 'one message');
my $before = memory(1);
my ($mailings, $each, $notes) = (15, 1000, 2000);
is(scalar(grep { my $i = $_; mail(map { sprintf 'user%d.%d@d%d.example.test', $i, $_, $_ % $dests } 0 .. $each - 1) } 1 .. $mailings),
    $mailings, 'mailings');
my $then = memory($mailings);
is(scalar(grep { mail(sprintf 'user%d@d%d.example.test', $_, $_ % $dests) } 1 .. $notes), $notes, 'and notes');
my $after = memory($notes);
$c->quit;
my $of_mailing = ($then - $before) / ($mailings * $each);
my $of_note = ($after - $then) / $notes;
diag(sprintf '%.0f bytes a recipient of a mailing, %.0f a message to one', $of_mailing, $of_note);
SKIP: {
    skip 'a sanitizer has an allocator of its own', 2 if (slurp(build() . '/config.h') // '') =~ /^#define GP_SANITIZE/m;
    ok($of_mailing > 100 && $of_mailing <= 400, sprintf '%.0f bytes a recipient of a mailing', $of_mailing);
    ok($of_note > 400 && $of_note <= 1024, sprintf '%.0f bytes a message to one', $of_note);
}
$gp->tool('gateq', 'delete', 'ALL');
$gp->stop;
done_testing;

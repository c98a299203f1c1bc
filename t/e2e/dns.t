#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Where mail goes by the DNS, against a real name server in a namespace: several MX and addresses,
# no MX, null MX, CNAME, no such domain, a broken zone, IPv6, ourselves, and a server that restarts.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sink;
use Test::More;

my $busy = { connect => sub { { reply => '421 4.3.2 not now', drop => 1 } } };
my %sink = map { $_->[0] => Gatepost::Sink->new(addr => $_->[1], port => 25, on => $_->[2] // {},
    name => $_->[0] eq 'namesake' ? 'mx.example' : 'sink.example') }
    (['three', '127.0.0.3'], ['four', '127.0.0.4'], ['busy', '127.0.0.6', $busy], ['six', '::1'], ['namesake', '127.0.0.7']);

my $records = <<'END';
dead    A 127.0.0.2
three   A 127.0.0.3
four    A 127.0.0.4
busy    A 127.0.0.6
self    A 127.0.0.1
namesake A 127.0.0.7
circle  MX 10 dead
circle  MX 20 namesake
around  MX 10 namesake
around  MX 20 four
six     AAAA ::1
pair    A 127.0.0.2
pair    A 127.0.0.3
both    A 127.0.0.2
both    AAAA ::1
fall    MX 10 dead
fall    MX 20 three
turn    MX 10 busy
turn    MX 20 four
two     MX 10 pair
mixed   MX 10 both
plain   A 127.0.0.4
alias   CNAME plain
mxalias MX 10 alias
null    MX 0 .
nomx    TXT "nothing to connect to"
mine    MX 10 self
backup  MX 10 three
backup  MX 20 self
backup  MX 30 four
gone    MX 10 nowhere
v6      MX 10 six
END
my $dns = Gatepost::Dns->new(zones => { 'test' => $records });
my $gp = Gatepost::Instance->new(main => {
    relayhost => '', inet_protocols => 'all', smtp_address_preference => 'any' });
$gp->start;

# domain => sink that gets it
my %goes = (fall => 'three', turn => 'four', two => 'three', mixed => 'six', plain => 'four',
    alias => 'four', mxalias => 'four', backup => 'three', v6 => 'six', around => 'four');
# domain => what the log says; mail comes back to nobody (null sender)
my %fails = (
    null => qr/dsn=5\.1\.0, status=bounced \(Domain null\.test does not accept mail \(nullMX\)\)/,
    nomx => qr/dsn=5\.4\.4, status=bounced \(Host or domain name not found\. Name service error for name=nomx\.test type=A/,
    nosuch => qr/dsn=5\.4\.4, status=bounced \(Host or domain name not found\. Name service error for name=nosuch\.test type=/,
    namesake => qr/dsn=5\.4\.6, status=bounced \(mail for namesake\.test loops back to myself\)/,
    circle => qr/dsn=4\.4\.6, status=deferred \(mail for circle\.test loops back to myself\)/,
    mine => qr/dsn=5\.4\.6, status=bounced \(mail for mine\.test loops back to myself\)/,
);
# MX hosts that do not exist: Postfix's words, and whether it waits, depend on the last of them.
my %other = (gone => qr/dsn=[45]\.4\.4, status=(?:bounced|deferred) \(Host or domain name not found\. Name service error for name=nowhere\.test type=A/);

for my $domain (sort keys %goes) {
    is($gp->mail('', "x\@$domain.test", "Subject: $domain\r\n\r\n")->{code}, 250, "$domain: accepted");
}
for my $domain (sort keys %goes) {
    my $sink = $sink{ $goes{$domain} };
    my $found = wait_until(15, sub { grep { $_->{rcpts}[0] eq "x\@$domain.test" } $sink->messages });
    ok($found, "$domain: arrives at $goes{$domain}") or diag join "\n", $gp->log_lines(qr/\@$domain\./);
}
my %all = (%fails, %other);
for my $domain (sort keys %all) {
    is($gp->mail('', "x\@$domain.test", "Subject: $domain\r\n\r\n")->{code}, 250, "$domain: accepted");
}
for my $domain (sort keys %all) {
    ok($gp->find_log(qr/to=<x\@$domain\.test>, .* $all{$domain}/), "$domain: reason")
        or diag join "\n", $gp->log_lines(qr/\@$domain\./);
}

is(($gp->tool('gateq', 'delete', '--recipient', 'x@circle.test'))[0], 0, 'what goes in a circle is deleted');
$gp->wait_log(qr/warning: host namesake\.test\[127\.0\.0\.7\]:25 greeted me with my own hostname mx\.example$/);
$gp->wait_log(qr/to=<x\@namesake\.test>, relay=namesake\.test\[127\.0\.0\.7\]:25, /, 'the relay is named');

# The name server is away: nothing is known, so mail waits, and no longer than the server is away.
$dns->stop;
is($gp->mail('', 'x@late.test', "Subject: late\r\n\r\n")->{code}, 250, 'accepted without a name server');
ok($gp->find_log(qr/to=<x\@late\.test>, .* dsn=4\.4\.3, status=deferred \(Host or domain name not found\. Name service error for name=late\.test type=MX: Host not found, try again\)/, 40),
    'deferred') or diag join "\n", $gp->log_lines(qr/late\.test/);
$dns->zone('test', "late A 127.0.0.4\n$records");
my $pace = Gatepost::Pace->new;
my $t = time;
ok(wait_until(60, sub { grep { $_->{rcpts}[0] eq 'x@late.test' } $sink{four}->messages }), 'delivered when it is back');
ok($pace->within(10, $t), 'soon');
ok($gp->drained, 'nothing is left') or diag join "\n", $gp->queue_list;
$gp->stop;
done_testing;

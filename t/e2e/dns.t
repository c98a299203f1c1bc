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
dead2   A 127.0.0.8
limit   MX 10 dead
limit   MX 20 dead2
limit   MX 30 three
balance MX 10 many
many    A 127.0.0.21
many    A 127.0.0.22
many    A 127.0.0.23
many    A 127.0.0.24
many    A 127.0.0.25
many    AAAA ::1
END
my $dns = Gatepost::Dns->new(zones => { 'test' => $records });
# Transport => settings, domain, sink or what the log says.
my $none = '\(Host or domain name not found\. Name service error for name=nowhere\.test type=AAAA: Host not found\)$';
my %by = (
    limit2 => ['smtp_mx_address_limit=2', 'limit', qr/dsn=4\.4\.1, status=deferred \(connect to dead2\.test\[127\.0\.0\.8\]:25: Connection refused\)$/],
    limit3 => ['smtp_mx_address_limit=3', 'limit', 'three'],
    limit0 => ['smtp_mx_address_limit=0', 'limit', 'three'],
    balanced => ['smtp_balance_inet_protocols=yes', 'balance', 'six'],
    unbalanced => ['smtp_balance_inet_protocols=no', 'balance', qr/dsn=4\.4\.1, status=deferred \(connect to many\.test\[127\.0\.0\.25\]:25: Connection refused\)$/],
    defers => ['smtp_defer_if_no_mx_address_found=yes', 'gone', qr/dsn=4\.4\.4, status=deferred $none/],
);
my $gp = Gatepost::Instance->new(main => {
    relayhost => '', inet_protocols => 'all', smtp_address_preference => 'any',
    transport_maps => 'inline:{' . join(', ', map {"{$_.test=$_:$by{$_}[1].test}"} sort keys %by) . '}',
}, master => [map {"$_ unix - - n - - smtp-client\n  -o smtp_randomize_addresses=no -o $by{$_}[0]"} sort keys %by]);
$gp->start;

# domain => sink that gets it
my %goes = (fall => 'three', turn => 'four', two => 'three', mixed => 'six', plain => 'four',
    alias => 'four', mxalias => 'four', backup => 'three', v6 => 'six', around => 'four',
    map { ($_ => $by{$_}[2]) } grep { !ref $by{$_}[2] } keys %by);
# domain => what the log says; mail comes back to nobody (null sender)
my %fails = (
    null => qr/dsn=5\.1\.0, status=bounced \(Domain null\.test does not accept mail \(nullMX\)\)/,
    nomx => qr/dsn=5\.4\.4, status=bounced \(Host or domain name not found\. Name service error for name=nomx\.test type=A/,
    nosuch => qr/dsn=5\.4\.4, status=bounced \(Host or domain name not found\. Name service error for name=nosuch\.test type=/,
    namesake => qr/dsn=5\.4\.6, status=bounced \(mail for namesake\.test loops back to myself\)/,
    circle => qr/dsn=4\.4\.6, status=deferred \(mail for circle\.test loops back to myself\)/,
    mine => qr/dsn=5\.4\.6, status=bounced \(mail for mine\.test loops back to myself\)/,
    # An MX host that does not exist will not be there later; smtp_defer_if_no_mx_address_found waits.
    gone => qr/dsn=5\.4\.4, status=bounced $none/,
    map { ($_ => $by{$_}[2]) } grep { ref $by{$_}[2] } keys %by,
);

for my $domain (sort keys %goes) {
    is($gp->mail('', "x\@$domain.test", "Subject: $domain\r\n\r\n")->{code}, 250, "$domain: accepted");
}
for my $domain (sort keys %goes) {
    my $sink = $sink{ $goes{$domain} };
    my $found = wait_until(15, sub { grep { $_->{rcpts}[0] eq "x\@$domain.test" } $sink->messages });
    ok($found, "$domain: arrives at $goes{$domain}") or diag join "\n", $gp->log_lines(qr/\@$domain\./);
}
for my $domain (sort keys %fails) {
    is($gp->mail('', "x\@$domain.test", "Subject: $domain\r\n\r\n")->{code}, 250, "$domain: accepted");
}
for my $domain (sort keys %fails) {
    ok($gp->find_log(qr/to=<x\@$domain\.test>, .* $fails{$domain}/), "$domain: reason")
        or diag join "\n", $gp->log_lines(qr/\@$domain\./);
}

$gp->wait_log(qr/warning: no MX host for gone\.test has a valid address record$/, 'gone: what is wrong is said of the domain, too');
is(($gp->tool('gateq', 'delete', '--recipient', "x\@$_.test"))[0], 0, "$_: what waits is deleted") for qw(circle limit2 unbalanced defers);
# What is final is no sign of a dead destination: each message is returned at once.
for my $domain ('nosuch', 'null', 'mine') {
    for my $n (1 .. 8) {
        $gp->mail('', "y$n\@$domain.test", "Subject: $domain\r\n\r\n");
        # A name server that was slow is no sign of one, either.
        my $line = $gp->find_log(qr/to=<y$n\@$domain\.test>, .* status=(?:bounced |deferred \(delivery temporarily suspended)/) // '';
        like($line, qr/ status=bounced /, "$domain: message $n is returned") or last;
    }
}
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
ok($pace->within(20, $t), 'soon');
ok($gp->drained, 'nothing is left') or diag join "\n", $gp->queue_list;
$gp->stop;
done_testing;

#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Settings of a delivery service as a server sees them: the name in EHLO, for each service its own,
# and how long content may take.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use IO::Socket::IP;
use POSIX ();
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;

# What LMTP has of its own is read by setting_of alone (or session_deadline, which does), a list of rows
# by its elements; the names of these lists stand here, too.
my @read_in_lists = qw(P_smtp_header_checks P_smtp_mime_header_checks P_smtp_nested_header_checks P_smtp_body_checks
    P_smtp_tls_chain_files P_smtp_tls_cert_file P_smtp_tls_eccert_file);
my @smtp_alone = qw(P_smtp_fallback_relay P_smtp_never_send_ehlo P_smtp_tls_dane_insecure_mx_policy);
for my $path (glob src() . '/smtp-client/*.c') {
    my $text = slurp($path);
    $text =~ s/(?:setting_of|session_deadline)\(\s*P_smtp_\w+\s*\)//g;
    my %listed = map { $_ => 1 } @smtp_alone, 'P_lmtp_assume_final', $text =~ /setting_of\(\w+\[\w+\]\)/ ? @read_in_lists : ();
    is(join(' ', grep { !$listed{$_} } $text =~ /\bP_(?:smtp|lmtp)_\w+/g), '', $path =~ s{.*/}{}r . ' reads by the protocol it speaks');
}

my $sink = Gatepost::Sink->new;
my $lmtp = Gatepost::Sink->new(lmtp => 1);

# Takes content slowly: 64 KB twenty times a second.
my $slow = IO::Socket::IP->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp', Listen => 10) or die "listen: $@";
setsockopt $slow, SOL_SOCKET, SO_RCVBUF, pack('i', 65536) or die "SO_RCVBUF: $!";
defined(my $pid = fork) or die "fork: $!";
if (!$pid) {
    $SIG{PIPE} = 'IGNORE';
    $SIG{CHLD} = 'IGNORE';
    while (my $c = $slow->accept) {
        next if fork;
        syswrite $c, "220 slow\r\n";
        my ($in, $data, $bytes) = ('', 0, '');
        while (sysread $c, $bytes, $data ? 65_536 : 4096) {
            $in .= $bytes;
            $data and select undef, undef, undef, 0.05;
            while (!$data && $in =~ s/^([^\n]*)\r\n//) {
                my $line = $1;
                $data = $line =~ /^DATA/i;
                syswrite $c, $data ? "354 go\r\n" : "250 ok\r\n";
            }
            last if $data && $in =~ /\r\n\.\r\n/;
            # Only its end is of interest.
            $in = substr $in, -4 if $data && length $in > 4;
        }
        syswrite $c, "250 2.0.0 taken\r\n";
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}
Gatepost::Kit::adopt($pid);
my $slow_port = $slow->sockport;
close $slow;

my $port = $sink->port;
my $gp = Gatepost::Instance->new(main => {
    myhostname => 'own.example', message_size_limit => 0, smtp_data_xfer_timeout => '2s',
    bounce_size_limit => 1000,
    default_transport => "smtp:[127.0.0.1]:$port", relayhost => '',
    transport_maps => "inline:{{a.test=one:[127.0.0.1]:$port},{b.test=two:[127.0.0.1]:$port},"
        . "{l.test=lmtp:inet:127.0.0.1:" . $lmtp->port . "},{m.test=three:inet:127.0.0.1:" . $lmtp->port . "},"
        . "{strict.test=strict:[127.0.0.1]:$slow_port},"
        . "{lax.test=lax:[127.0.0.1]:$slow_port}}",
}, master => [
    "one unix - - n - - smtp-client\n  -o smtp_helo_name=one.example",
    "two unix - - n - - smtp-client\n  -o { smtp_helo_name = two.\$mydomain }",
    "three unix - - n - - smtp-client -l\n  -o lmtp_lhlo_name=three.example",
    "strict unix - - n - - smtp-client\n  -o smtp_per_request_deadline=yes\n  -o smtp_min_data_rate=100000000",
    "lax unix - - n - - smtp-client\n  -o smtp_per_request_deadline=yes\n  -o smtp_min_data_rate=1000",
]);
$gp->start;

# The names.
for my $row (
    ['x@elsewhere.test', 'own.example', 'blank: the name of the machine'],
    ['x@a.test', 'one.example', 'a service with a name of its own'],
    ['x@b.test', 'two.example', 'another one'],
    ['x@l.test', 'own.example', 'LMTP'],
    ['x@m.test', 'three.example', 'LMTP with a name of its own'],
) {
    my ($to, $want, $what) = @$row;
    is($gp->mail('s@client.test', $to, "Subject: name\r\n\r\n")->{code}, 250, $to);
    my $m;
    ok(wait_until(20, sub { ($m) = grep { $_->{rcpts}[0] eq $to } $sink->messages, $lmtp->messages }), "$to has it");
    is($m->{helo}, $want, $what);
}

# The time for content. It is larger than what the kernel takes at once.
my $text = "Subject: large\r\n\r\n" . ('x' x 70 . "\r\n") x 160_000;
$gp->mark;
is($gp->mail('s@client.test', "x\@$_.test", $text)->{code}, 250, "$_: a large message") for 'strict', 'lax';
$gp->wait_log(qr/to=<x\@strict\.test>, .*, status=deferred \(conversation with 127\.0\.0\.1\[127\.0\.0\.1\] timed out while sending message body\)$/,
    'slower than smtp_min_data_rate: given up', 15);
$gp->wait_log(qr/to=<x\@lax\.test>, .*, dsn=2\.0\.0, status=sent/, 'fast enough: longer than the time for a part', 40);
my ($delay) = $gp->find_log(qr/to=<x\@lax\.test>/) =~ m{delays=[\d.]+/[\d.]+/[\d.]+/([\d.]+)};
cmp_ok($delay, '>', 2.5, 'which it took');
$gp->tool('gateq', 'delete', 'ALL');
$gp->stop;
done_testing;

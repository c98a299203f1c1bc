#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# TLS as Debian's Postfix logs it, answers it and writes it into Received:. The same clients talk to
# both with the same certificates; ids, times, ports and what OpenSSL adds of its source files are left out.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sink;
use Gatepost::Smtp;
use Gatepost::Tls;
use Test::More;

need('openssl');
my $sink = Gatepost::Sink->new;
my $certs = Gatepost::Certs->new;
my %chain = map { $_->[0] => $certs->make($_->[0], type => $_->[1], names => ['mx.example'], by => 'intermediate') }
    ['rsa', 'rsa:2048'], ['ec', 'ec'], ['ed', 'ed25519'];
my %client = map { $_->[0] => $certs->make($_->[0], cn => $_->[1], client => 1, @$_[2 .. $#$_]) }
    ['good', 'good'], ['brackets', 'a (b) c) (d'], ['rsa_client', 'rsa client', type => 'rsa:2048'],
    ['ed_client', 'ed client', type => 'ed25519'], ['expired', 'expired', expired => 1], ['self', 'self', by => 'self'];
my %main = (
    compatibility_level => '3.6', myhostname => 'mx.example', mydomain => 'example', mail_name => 'Same',
    relayhost => '[127.0.0.1]:' . $sink->port, mynetworks => '127.0.0.0/8', mydestination => '',
    smtpd_recipient_restrictions => 'permit_mynetworks, reject', smtpd_peername_lookup => 'no', inet_protocols => 'ipv4',
    smtpd_tls_chain_files => join(', ', map { $chain{$_}{both} } qw(rsa ec ed)), smtpd_tls_CAfile => $certs->ca,
    smtpd_tls_loglevel => 1, smtpd_tls_received_header => 'yes', smtpd_tls_security_level => 'may',
    smtpd_tls_protocols => '>=TLSv1.2', smtpd_tls_mandatory_protocols => '>=TLSv1.2', smtpd_starttls_timeout => '100s',
    smtpd_client_event_limit_exceptions => '', smtpd_client_connection_count_limit => 0, smtpd_error_sleep_time => 0,
    message_size_limit => 10_000_000, smtp_tls_security_level => 'none', smtp_connection_cache_on_demand => 'no', smtpd_forbid_unauth_pipelining => 'yes',
);
my @services = (
    ['encrypt', '-o smtpd_tls_security_level=encrypt'], ['ask', '-o smtpd_tls_ask_ccert=yes'],
    ['req', '-o smtpd_tls_security_level=encrypt -o smtpd_tls_req_ccert=yes'], ['wrap', '-o smtpd_tls_wrappermode=yes'],
    ['none', '-o smtpd_tls_security_level=none'], ['old', '-o smtpd_tls_security_level= -o smtpd_use_tls=yes'],
    ['older', '-o smtpd_tls_security_level= -o smtpd_enforce_tls=yes'], ['hidden', '-o smtpd_discard_ehlo_keywords=starttls'],
    ['tls13', '-o smtpd_tls_protocols=TLSv1.3'], ['tls12', '-o smtpd_tls_protocols=TLSv1.2'],
    ['hasty', '-o smtpd_starttls_timeout=2s'], ['not13', '-o smtpd_tls_protocols=!TLSv1.3'], ['high', '-o smtpd_tls_ciphers=high -o smtpd_tls_exclude_ciphers=AES128,SHA1'],
);
my %port;
sub lines_for { my ($n) = @_; map { $port{$n}{ $_->[0] } = free_port(); "127.0.0.1:$port{$n}{ $_->[0] } inet n - n - - smtpd $_->[1]" } @services }
my $pf = Gatepost::Peers->postfix(main => { %main, disable_dns_lookups => 'yes' }, services => [lines_for('pf')]);
# REQUIRETLS is newer than Debian's Postfix.
my $gp = Gatepost::Instance->new(main => { %main, syslog_name => 'postfix', requiretls_enable => 'no' }, master => [lines_for('gp')]);
$gp->start;

my $x = "Message-ID: <m\@x>\r\nSubject: x\r\n\r\nx\r\n";

# Says what it is told inside, and gives the replies.
sub inside {
    my ($args, @lines) = @_;
    return sub {
        my ($c) = @_;
        $c->hello;
        my $t = starttls($c, @$args) or return 'no TLS';
        return join '', map { $t->cmd($_)->{text} . "\n" } @lines, 'QUIT';
    };
}

sub letter {
    my (@args) = @_;
    return sub {
        my ($c) = @_;
        $c->hello;
        my $t = starttls($c, @args) or return 'no TLS';
        $t->cmd('EHLO client.example');
        my $r = $t->mail('s@client.test', 'a@open.test', $x)->{text} =~ s/queued as \S+/queued/r;
        $t->cmd('QUIT');
        return $r;
    };
}

sub clear { my (@lines) = @_; sub { my ($c) = @_; $c->hello; join '', map { $c->cmd($_)->{text} . "\n" } @lines, 'QUIT' } }
sub cert { my ($who) = @_; ('-cert', $client{$who}{cert}, '-key', $client{$who}{key}) }

my @all = ('HELO x', 'EHLO x', 'NOOP', 'DATA', 'MAIL FROM:<a@x.test>', 'RCPT TO:<a@x.test>', 'RSET', 'VRFY x', 'STARTTLS x');
my @events = (
    ['clear', '', clear(@all)], ['clear, encrypt', 'encrypt', clear(@all)], ['clear, none', 'none', clear('STARTTLS')],
    ['hidden', 'hidden', clear('STARTTLS')], ['enforced in the old way', 'older', clear(@all)],
    ['what is offered', '', inside([], 'EHLO x', 'STARTTLS', 'NOOP')],
    ['in the old way', 'old', inside([], 'EHLO x')],
    ['without EHLO inside', '', inside([], 'MAIL FROM:<a@x.test>', 'RCPT TO:<a@x.test>')],
    (map { my $v = $_; map { my $s = $_; ["$v, $s", '', letter("-$v", '-sigalgs', $s)] }
        'rsa_pss_rsae_sha256', 'rsa_pss_rsae_sha512', 'ecdsa_secp256r1_sha256', 'ed25519' } qw(tls1_2 tls1_3)),
    (map { my $g = $_; ["group $g", '', letter('-groups', $g)] } qw(X25519 X448 P-256 P-384 P-521)),
    (map { my $c = $_; ["cipher $c", '', letter('-tls1_2', '-cipher', $c)] } 'ECDHE-RSA-AES128-GCM-SHA256',
        'ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-RSA-AES256-SHA'),
    (map { my $c = $_; ["suite $c", '', letter('-tls1_3', '-ciphersuites', $c)] } 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'),
    ['excluded', 'high', letter('-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256')],
    ['not excluded', 'high', letter('-tls1_2')],
    ['SNI', '', letter('-servername', 'mx.example')],
    ['a certificate that nobody has asked for', '', letter(cert('good'))],
    ['none where it is asked for', 'ask', letter()],
    (map { my $who = $_; map { ["$_, $who", 'ask', letter("-$_", cert($who))] } qw(tls1_2 tls1_3) } sort keys %client),
    ['none where it is required', 'req', inside([], 'EHLO x')],
    (map { my $who = $_; ["required, $who", 'req', inside([cert($who)], 'EHLO x', 'NOOP')] } qw(good expired self)),
    ['TLS 1.1', '', letter('-tls1_1', '-cipher', 'ALL:@SECLEVEL=0')], ['TLS 1.0', '', letter('-tls1', '-cipher', 'ALL:@SECLEVEL=0')],
    ['TLS 1.2 alone', 'tls12', letter()], ['not TLS 1.3', 'not13', letter()],
    ['no common protocol', 'tls13', letter('-tls1_2')],
    ['leaves behind STARTTLS', '', sub { my ($c) = @_; $c->hello; $c->cmd('STARTTLS')->{text} }],
    ['garbage behind STARTTLS', '', sub { my ($c) = @_; $c->hello; $c->cmd('STARTTLS'); $c->send("MAIL FROM:<a\@x.test>\r\n"); $c->at_eof; '' }],
    ['silent behind STARTTLS', 'hasty', sub { my ($c) = @_; $c->hello; $c->cmd('STARTTLS'); $c->at_eof; '' }],
    ['leaves inside', '', sub { my ($c) = @_; $c->hello; my $t = starttls($c); my $r = $t->cmd('EHLO x')->{code}; $t->drop; $r }],
    ['TLS from connect', 'wrap', sub { my ($c) = @_; my $t = tls($c); $t->expect(220, 'TLS from connect: greeting'); $t->cmd('EHLO x')->{text} . $t->cmd('QUIT')->{text} }],
    ['in clear where TLS is first', 'wrap', sub { my ($c) = @_; $c->send("EHLO x\r\n"); $c->at_eof; '' }],
    ['leaves where TLS is first', 'wrap', sub {''}],
);

sub shown {
    my ($log) = @_;
    my @lines;
    for (split /\n/, $log) {
        my ($text) = /^\w{3} [ \d]\d [\d:]{8} \S+ postfix\/smtpd\[\d+\]: (.*)$/ or next;
        next if $text =~ /^discarding EHLO keywords/;
        $text =~ s/\b[0-9A-F]{9,12}\b/ID/g;
        $text =~ s/^(warning: TLS library problem: error:[0-9A-F]+:[^:]*:[^:]*:[^:]*).*/$1/;
        push @lines, $text;
    }
    return @lines;
}

# Log, replies, Received: of one event.
sub seen {
    my ($log, $port, $event) = @_;
    my ($name, undef, $run) = @$event;
    my $mark = -s $log || 0;
    my $before = $sink->count;
    my $c = Gatepost::Smtp->new(port => $port, timeout => 60) or return "no connection\n";
    my $said = $run->($c);
    $c->close;
    undef $c;
    wait_until(30, sub { appended($log, $mark) =~ /disconnect from.*\n/ }) or diag "$name: the log is short in $log";
    my $out = "said: $said\n";
    if ($said =~ /queued/) {
        wait_until(30, sub { $sink->count > $before }) or diag "$name: nothing arrives";
        my ($m) = ($sink->messages)[-1];
        $out .= $1 =~ s/\b[0-9A-F]{9,12}\b/ID/r =~ s/;\s.*//sr . "\n" if $m->{content} =~ /^(Received:.*?\n)(?=\S)/ms;
    }
    $out .= join '', map {"$_\n"} shown(appended($log, $mark));
    return $out =~ s/\r//gr;
}

for my $event (@events) {
    next if @ARGV && $event->[0] !~ /$ARGV[0]/;
    my $service = $event->[1];
    my $theirs = seen($pf->{log}, $service ? $port{pf}{$service} : $pf->port, $event);
    my $ours = seen($gp->{log}, $service ? $port{gp}{$service} : $gp->port, $event);
    is($ours, $theirs, $event->[0]);
}
$gp->stop;
done_testing;

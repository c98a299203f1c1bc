#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Whose certificates are trusted, of clients and of servers: directories of authorities, the system's
# own, both, none. They are read at start and at a reload. In a namespace whose system has one authority.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Smtp;
use Gatepost::Tls;
use Gatepost::TlsSink;
use Test::More;

need('openssl');
my %by = map { $_ => Gatepost::Certs->new(dir => tempdir($_)) } qw(ours system later);
my $mx = $by{ours}->make('mx', names => ['mx.example']);
my %client = map { $_ => $by{$_}->make('client', cn => $_, client => 1) } keys %by;
my %sink = map { $_ => Gatepost::TlsSink->new(cert => $by{$_}->make('server', names => ['server.test'])) } keys %by;

# A directory as openssl-rehash(1) makes it; only names of its kind count.
sub directory {
    my ($dir, @whose) = @_;
    mkdir $dir;
    spew("$dir/$_.pem", slurp($by{$_}->ca)) for @whose;
    spew("$dir/readme", 'no certificate');
    return run_ok('openssl rehash', 'openssl', 'rehash', $dir);
}
my $dir = tempdir('trust');
my ($path, $system) = ("$dir/path", "$dir/system");
directory($path, 'ours');
directory($system, 'system');
my ($home) = (run_out('openssl', 'version', '-d'))[1] =~ /OPENSSLDIR: "(.*)"/;
is(system('mount', '--bind', $system, readlink "$home/certs" // "$home/certs"), 0, "authorities of the system in $home");

my %trust = (none => [], path => ['ours'], system => ['system'], both => ['ours', 'system']);
my %port = map { $_ => free_port() } keys %trust;
sub options {
    my ($how, $prefix) = @_;
    return join ' ', $how =~ /path|both/ ? "-o ${prefix}_tls_CApath=$path" : (), $how =~ /system|both/ ? '-o tls_append_default_CA=yes' : ();
}
my $gp = Gatepost::Instance->new(
    main => {
        smtpd_tls_security_level => 'may', smtpd_tls_chain_files => $mx->{both}, smtpd_tls_ask_ccert => 'yes', smtpd_tls_loglevel => 1,
        smtp_tls_security_level => 'verify', smtp_tls_verify_cert_match => 'server.test', notify_classes => '',
        minimal_backoff_time => '300s', maximal_backoff_time => '300s',
        transport_maps => 'inline:{' . join(', ', map { my $how = $_; map {"$_.$how.test=$how:[127.0.0.1]:" . $sink{$_}->port} sort keys %sink } sort keys %trust) . '}',
    },
    master => [map { ("$port{$_} inet n - n - - smtpd " . options($_, 'smtpd'), "$_ unix - - n - - smtp-client " . options($_, 'smtp')) } sort keys %trust],
);
$gp->start;

my $word = qr/(\w+) TLS connection established from/;
sub trust_in_client {
    my ($how, $who) = @_;
    $gp->mark;
    my $c = Gatepost::Smtp->new(port => $port{$how}) or return 'no session';
    $c->hello;
    my $t = starttls($c, '-cert', $client{$who}{cert}, '-key', $client{$who}{key}) or return 'no TLS: ' . tls_error();
    $t->cmd('QUIT', 221);
    return ($gp->find_log($word) // '') =~ $word ? $1 : 'no line';
}
sub trust_in_server {
    my ($how, $who, $to) = @_;
    is($gp->mail('', "$to\@$who.$how.test", "x: y\r\n\r\n")->{code}, 250, "$who, $how: taken");
    return ($gp->find_log(qr/to=<\Q$to\E\@$who\.$how\.test>/, 30) // '') =~ /status=(sent|deferred \(Server certificate not verified\))/ ? $1 : 'no line';
}
sub try_all {
    my ($when) = @_;
    for my $how (sort keys %trust) {
        for my $who (sort keys %by) {
            my $is_trusted = grep { $_ eq $who } @{ $trust{$how} };
            is(trust_in_client($how, $who), $is_trusted ? 'Trusted' : 'Untrusted', "$when: a client of $who, authorities: $how");
            is(trust_in_server($how, $who, $when), $is_trusted ? 'sent' : 'deferred (Server certificate not verified)', "$when: a server of $who, authorities: $how");
        }
    }
}
try_all('first');

# What comes into a directory is there behind a reload, not before.
directory($_, 'later') for $path, $system;
is(trust_in_client('both', 'later'), 'Untrusted', 'a new file is not read by itself');
push @{ $trust{$_} }, 'later' for qw(path system both);
$gp->reload;
ok(wait_until(20, sub { trust_in_client($_[0] // 'both', 'later') eq 'Trusted' }), 'but at a reload');
try_all('reloaded');
is(scalar(map { $_->messages } values %sink), 4 + 7, 'mail came to whom it was sent');
ok(!$gp->all_lines(qr/panic|fatal/), 'nothing broke');
$gp->stop;
done_testing;

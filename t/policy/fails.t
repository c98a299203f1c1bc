#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A table that fails in each position of smtpd's settings, one port for each: 451 where it would have
# decided something, else what is safe; never "not found", never a pass; and the session goes on.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Smtp;
use Gatepost::Tables;
use Test::More;

my $dns = Gatepost::Dns->new(zones => {
    'local.test' => "\@ MX 10 mx.good.test.\n\@ A 127.0.3.1\n",
    'good.test' => "client A 127.0.0.2\n\@ MX 10 mx\nmx A 127.0.3.2\n\@ A 127.0.3.1\n2.0.0.127.list A 127.0.0.2\n",
    '127.in-addr.arpa' => "2.0.0 PTR client.good.test.\n",
});
# It is never silent, but may be slow.
Gatepost::Netns::resolv_conf($dns->{dir}, "nameserver $dns->{addr}\noptions timeout:5 attempts:3\n");
my $dir = tempdir('fails');
spew("$dir/login", 'joe ' . crypt_record('secret') . "\n");
run_ok('password table', build() . '/sbin/gatemap', "hash:$dir/login");

my $fail = table_name("fail:x");
my $ok = qr/^250 /;
my $problem = qr/^451 4\.3\.[05] /;
my (%port, @master, @rows);

# The settings of a port, and what is said there: lines, each with its reply (a pattern). A first
# line '' is the greeting, 'AUTH' a login.
sub row {
    my ($name, $set, @dialogue) = @_;
    die "$name twice" if $port{$name};
    $port{$name} = free_port();
    push @master, "$port{$name} inet n - n - 2 smtpd" . join '', map {" -o { $_ = $set->{$_} }"} sort keys %$set;
    push @rows, [$name, @dialogue];
}

my @mail = ('MAIL FROM:<s@good.test>' => $ok);
my @known = (@mail, 'RCPT TO:<u@local.test>' => $ok);
my @fails = (@mail, 'RCPT TO:<u@local.test>' => $problem, 'RSET' => $ok);
my @far = (@mail, 'RCPT TO:<x@far.test>' => $problem, 'RSET' => $ok);
my @login = ('AUTH' => qr/^235 /, 'MAIL FROM:<s@good.test>' => $ok, 'RCPT TO:<u@local.test>' => $problem);

# Each restriction that has a table.
for my $what (qw(client reverse_client_hostname helo sender recipient)) {
    for my $kind ('', '_mx', '_ns', '_a') {
        my $list = $what =~ /client/ ? 'client' : $what;
        row("check_$what${kind}_access", { "smtpd_${list}_restrictions" => "check_$what${kind}_access $fail" }, @fails);
    }
}
row('check_sasl_access', { smtpd_sender_restrictions => "check_sasl_access $fail" }, @login);
row('check_sasl_access, no login', { smtpd_sender_restrictions => "check_sasl_access $fail" }, @known);
row('check_ccert_access, no certificate', { smtpd_sender_restrictions => "check_ccert_access $fail" }, @known);
row('permit_tls_clientcerts, no certificate', { relay_clientcerts => $fail,
    smtpd_relay_restrictions => 'permit_tls_clientcerts, reject_unauth_destination' }, @mail, 'RCPT TO:<x@far.test>' => qr/^554 5\.7\.1 /);
row('check_etrn_access', { smtpd_etrn_restrictions => "check_etrn_access $fail" }, 'ETRN relay.test' => $problem);
row("$_, login maps", { smtpd_sender_login_maps => $fail, smtpd_sender_restrictions => $_ }, @login)
    for map {"reject_${_}sender_login_mismatch"} '', 'authenticated_', 'known_';
row('reject_unauthenticated_sender_login_mismatch, login maps', { smtpd_sender_login_maps => $fail,
    smtpd_sender_restrictions => 'reject_unauthenticated_sender_login_mismatch' }, @fails);
row('header_from_login_match', { smtpd_sender_login_maps => $fail, header_from_login_match => 'yes' }, 'AUTH' => qr/^235 /,
    @known, 'DATA' => qr/^354 /, "From: s\@good.test\r\n\r\nx\r\n." => $problem);
row('reject_rbl_client, rbl_reply_maps', { rbl_reply_maps => $fail, smtpd_client_restrictions => 'reject_rbl_client list.good.test' }, @fails);
row('permit_mynetworks', { mynetworks => $fail, smtpd_relay_restrictions => 'permit_mynetworks, reject_unauth_destination' }, @far);
row('permit_mx_backup', { permit_mx_backup_networks => $fail, proxy_interfaces => '127.0.3.2',
    smtpd_relay_restrictions => 'permit_mx_backup, reject_unauth_destination' }, @mail, 'RCPT TO:<x@good.test>' => $problem);
row('reject_unlisted_sender', { virtual_mailbox_maps => $fail, smtpd_sender_restrictions => 'reject_unlisted_sender' },
    'MAIL FROM:<u@local.test>' => $ok, 'RCPT TO:<x@relay.test>' => $problem);
row('warn_if_reject', { smtpd_sender_restrictions => "warn_if_reject check_sender_access $fail, permit" }, @fails);
row('in a class', { smtpd_restriction_classes => 'own', own => "check_sender_access $fail, permit", smtpd_sender_restrictions => 'own' }, @fails);
row('a class named by a table', { smtpd_restriction_classes => 'own', own => "check_sender_access $fail, permit",
    smtpd_sender_restrictions => 'check_sender_access static:own' }, @fails);
row('in a unionmap', { smtpd_sender_restrictions => "check_sender_access unionmap:{static:OK, $fail}" }, @fails);
row('in a pipemap', { smtpd_sender_restrictions => "check_sender_access pipemap:{static:OK, $fail}" }, @fails);

# Each list, delayed and not.
row("$_ list", { "smtpd_${_}_restrictions" => "check_client_access $fail, reject_unauth_destination" }, @fails)
    for qw(client helo sender relay recipient);
row('data list', { smtpd_data_restrictions => "check_client_access $fail" }, @known, 'DATA' => $problem);
row('end of data list', { smtpd_end_of_data_restrictions => "check_client_access $fail" }, @known, 'DATA' => qr/^354 /, "x\r\n." => $problem);
row('etrn list', { smtpd_etrn_restrictions => "check_client_access $fail" }, 'ETRN relay.test' => $problem);
my %now = (smtpd_delay_reject => 'no');
row('client list, at connect', { %now, smtpd_client_restrictions => "check_client_access $fail" }, '' => $problem);
row('helo list, at HELO', { %now, smtpd_helo_restrictions => "check_helo_access $fail" }, 'HELO client.good.test' => $problem);
row('sender list, at MAIL', { %now, smtpd_sender_restrictions => "check_sender_access $fail" }, 'MAIL FROM:<s@good.test>' => $problem);

# Who is ours.
row("$_->[0]", { $_->[0] => $fail }, @mail, "RCPT TO:<$_->[1]>" => $problem, 'RSET' => $ok) for
    ['mydestination', 'x@far.test'], ['relay_domains', 'x@far.test'], ['virtual_alias_domains', 'x@far.test'],
    ['virtual_mailbox_domains', 'x@far.test'], ['virtual_mailbox_maps', 'u@local.test'], ['virtual_alias_maps', 'u@local.test'],
    ['relay_recipient_maps', 'x@relay.test'], ['local_recipient_maps', 'x@here.test'];
row('VRFY', { virtual_mailbox_maps => $fail }, 'VRFY u@local.test' => $problem);

# Settings beside the lists: what is safe.
row('smtpd_safe_clients', { smtpd_safe_clients => $fail }, @fails);
row('smtpd_authorized_xclient_hosts', { smtpd_authorized_xclient_hosts => $fail }, 'XCLIENT ADDR=192.0.2.1' => qr/^550 5\.7\.0 /, @known);
row('smtpd_authorized_xforward_hosts', { smtpd_authorized_xforward_hosts => $fail }, 'XFORWARD ADDR=192.0.2.1' => qr/^550 5\.7\.0 /, @known);
row('smtpd_client_event_limit_exceptions', { smtpd_client_event_limit_exceptions => $fail, smtpd_client_message_rate_limit => 1 },
    @known, 'RSET' => $ok, 'MAIL FROM:<s@good.test>' => qr/^450 4\.7\.1 /);
row('smtpd_forbid_bare_newline_exclusions', { smtpd_forbid_bare_newline_exclusions => $fail, smtpd_forbid_bare_newline => 'reject' },
    @known, 'DATA' => qr/^354 /, "a\nb\r\n." => qr/^550 5\.5\.2 /);
row('smtpd_forbidden_commands', { smtpd_forbidden_commands => $fail }, 'GET /' => qr/^500 /, @known);
row('smtpd_noop_commands', { smtpd_noop_commands => $fail }, 'WIZ' => qr/^500 /, @known);
row('smtpd_command_filter', { smtpd_command_filter => $fail }, 'EHLO x' => qr/^421 4\.3\.0 /);
row('smtpd_discard_ehlo_keyword_address_maps', { smtpd_discard_ehlo_keyword_address_maps => $fail }, @known);
row('smtpd_sasl_exceptions_networks', { smtpd_sasl_exceptions_networks => $fail }, 'AUTH' => qr/^454 4\.7\.0 /, @known);
row('smtpd_sasl_mechanism_filter', { smtpd_sasl_mechanism_filter => $fail }, 'AUTH' => qr/^454 4\.7\.0 /, @known);
row('smtpd_sasl_password_maps', { smtpd_sasl_password_maps => $fail }, 'AUTH' => qr/^454 4\.7\.0 /, @known);
row('fast_flush_domains', { fast_flush_domains => $fail }, 'ETRN relay.test' => $problem, @known);
# Who may be one of ours is not refused for good as a stranger.
row('mynetworks, greylist', { mynetworks => $fail, smtpd_greylist => 'yes' }, @mail, 'RCPT TO:<u@local.test>' => qr/^450 4\.7\.1 /);
row('mynetworks, DNS lists', { mynetworks => $fail, smtpd_dnsbl_sites => 'list.good.test' }, @fails);
for my $list (qw(mynetworks smtpd_safe_clients)) {
    row("$list, size", { $list => $fail, incoming_message_size_limit => 100, message_size_limit => 5000 },
        'MAIL FROM:<s@good.test> SIZE=1000' => $problem, 'MAIL FROM:<s@good.test> SIZE=6000' => qr/^552 5\.3\.4 /);
}
my %unsure = (mynetworks => $fail, incoming_message_size_limit => 100);
row('mynetworks, size of content', \%unsure, @known, 'DATA' => qr/^354 /, 'x' x 200 . "\r\n." => $problem);
row('mynetworks, size of a chunk', \%unsure, @known, "BDAT 202 LAST\r\n" . 'x' x 200 => $problem);

my $gp = Gatepost::Instance->new(
    main => {
        mynetworks => '127.0.0.9', mydestination => 'here.test', relay_domains => 'relay.test', smtpd_peername_lookup => 'yes',
        virtual_mailbox_domains => 'local.test', virtual_mailbox_maps => 'inline:{{u@local.test=x}}', virtual_transport => 'discard',
        relay_transport => 'discard', smtpd_relay_restrictions => 'reject_unauth_destination', smtpd_recipient_restrictions => '',
        smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => "hash:$dir/login",
        smtpd_error_sleep_time => 0,
    },
    master => \@master,
);
$gp->start or die 'no instance';

for my $row (@rows) {
    my ($name, @dialogue) = @$row;
    my $c = Gatepost::Smtp->new(port => $port{$name}, from => '127.0.0.2') or fail("$name: no connection"), next;
    if ($dialogue[0] eq '') {
        $c->expect($dialogue[1], "$name: greeting");
        next;
    }
    $c->expect(220, "$name: greeting");
    $c->cmd('EHLO client.good.test') if $dialogue[0] !~ /^(?:EHLO|HELO)/;
    while (my ($line, $want) = splice @dialogue, 0, 2) {
        my $r = $line eq 'AUTH' ? plain($c, 'joe', 'secret') : $c->cmd($line);
        like($r->{text}, $want, "$name: " . $line =~ s/\s*\n.*//sr);
    }
    $c->close;
}
$gp->stop;
done_testing;

#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Who may send what, each port with lists of its own: rows C4, C5, C8 to C16, C18, D1 to D3, E4, E6
# and G1 of the features, smtpd_delay_reject, classes, and what access tables do to a message.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Sink;
use Gatepost::Smtp;
use Gatepost::Tables;
use Test::More;

my $dir = tempdir('policy');
my $sink = Gatepost::Sink->new;
my $filter = Gatepost::Sink->new;
$filter->stop;
my $far = 'reject_unauth_destination';
my %map = (
    owners => "u\@local.test joe\nv\@local.test ann, joe\n\@team.test joe\nw\@local.test ann\n",
    clients => "127.0.0.5 REJECT\n127.0.3.* REJECT go away\n127.4 450 4.7.1 later\n",
    only => "127.0.0.6 OK\n",
    kill => "bad\@far.test REJECT\n\@kill.test REJECT\n\@*c.test 553 5.1.8 killed\n<> DUNNO\n",
    accept => "partner.test OK\nfriend\@far.test OK\n",
    actions => join('', map {"$_->[0]\@local.test $_->[1]\n"}
        ['hold', 'HOLD reviewed'], ['discard', 'DISCARD'], ['filter', 'FILTER smtp:[127.0.0.1]:' . $filter->port],
        ['redirect', 'REDIRECT other@local.test'], ['bcc', 'BCC copy@local.test'], ['prepend', 'PREPEND X-Gate: seen'],
        ['warn', 'WARN watch this'], ['info', 'INFO note this'], ['class', 'strict'], ['list', 'reject_non_fqdn_sender, defer'],
        ['defer', 'DEFER_IF_PERMIT soon'], ['num', '12345'], ['reply', '521 5.7.1 go'], ['odd', 'nonsense']),
    strict => "x\@far.test REJECT 5.1.2 by class\n",
    login => "joe " . scram_record('secret') . "\n",
);
my %t = map { $_ => table($_ eq 'login' ? 'hash' : 'btree', "$dir/$_", $map{$_}) } keys %map;

my %port;
my @master;
sub port {
    my ($name, %set) = @_;
    $port{$name} = free_port();
    push @master, "$port{$name} inet n - n - - smtpd" . join '', map {" -o { $_ = $set{$_} }"} sort keys %set;
}
port(range => smtpd_relay_restrictions => "permit_mynetworks, $far");
port(star => mynetworks => '127.0.3.*, 127.0.5.1', smtpd_relay_restrictions => "permit_mynetworks, $far");
port(both => smtpd_client_restrictions => 'permit_sasl_authenticated, reject', smtpd_recipient_restrictions => 'permit_mynetworks, reject');
port(safe => smtpd_safe_clients => '127.0.0.5', smtpd_client_restrictions => "check_client_access $t{clients}, reject",
    smtpd_delay_reject => 'no', smtpd_relay_restrictions => 'reject', smtpd_recipient_limit => 1, incoming_message_size_limit => 100);
port(own => smtpd_relay_restrictions => "permit_inet_interfaces, $far");
port(notown => smtpd_relay_restrictions => "reject_inet_interfaces, permit_mynetworks, $far");
port(cut => smtpd_delay_reject => 'no', smtpd_client_restrictions => 'permit_mynetworks, reject',
    smtpd_helo_restrictions => 'reject_invalid_helo_hostname', smtpd_sender_restrictions => "check_sender_access $t{kill}");
port(open => relay_domains => 'open.test');
port(direct => smtpd_relay_restrictions => "permit_direct_delivery_hosts, $far");
port(exists => smtpd_sender_restrictions => 'reject_unlisted_sender, reject_authenticated_sender_login_mismatch',
    smtpd_relay_restrictions => "permit_sasl_authenticated, $far");
port(owner => smtpd_sender_restrictions => 'reject_sender_login_mismatch', header_from_login_match => 'yes',
    smtpd_relay_restrictions => "permit_sasl_authenticated, $far");
port(login => smtpd_sender_restrictions => 'reject_unauthenticated_sender_login_mismatch');
port(accept => smtpd_relay_restrictions => "check_sender_access $t{accept}, $far", parent_domain_matches_subdomains => '');
port(allbut => smtpd_client_restrictions => "check_client_access $t{clients}");
port(onlythese => smtpd_client_restrictions => "check_client_access $t{only}, reject");
port(kill => smtpd_sender_restrictions => "check_sender_access $t{kill}");
port(size => incoming_message_size_limit => 2000, smtpd_advertised_size_limit => 5000, smtpd_relay_restrictions => "permit_sasl_authenticated, $far");
port(nosize => smtpd_enforce_size_limit => 'no', smtpd_advertised_size_limit => 0);
port(act => smtpd_recipient_restrictions => "check_recipient_access $t{actions}", smtpd_restriction_classes => 'strict',
    strict => "reject_non_fqdn_sender, check_sender_access $t{strict}", smtpd_reject_unlisted_recipient => 'no');
port(warn => smtpd_recipient_restrictions => 'warn_if_reject, reject, sleep 0, permit_auth_destination, reject',
    smtpd_data_restrictions => 'reject_multi_recipient_bounce, check_sender_access inline:{{d@far.test=REJECT}}',
    smtpd_end_of_data_restrictions => 'check_sender_access inline:{ {e@far.test=REJECT no such content}, {h@far.test=HOLD} }');
port(vrfy => disable_vrfy_command => 'no');
port(novrfy => disable_vrfy_command => 'yes');

my $gp = Gatepost::Instance->new(
    main => {
        mynetworks => '127.0.0.9', smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table',
        smtpd_sasl_password_maps => $t{login}, smtpd_sender_login_maps => $t{owners},
        smtpd_relay_restrictions => $far, smtpd_recipient_restrictions => '',
        virtual_mailbox_domains => 'local.test', virtual_transport => 'smtp:[127.0.0.1]:' . $sink->port,
        virtual_mailbox_maps => 'inline:{' . join(', ', map {"{$_\@local.test=x}"} qw(u v w other copy)) . '}',
        default_transport => 'discard', relay_transport => 'discard', smtpd_error_sleep_time => 0, smtpd_hard_error_limit => 1000,
        direct_delivery_maps => 'inline:{{dd.test=[127.0.0.7]:25, [192.0.2.1]}}', message_size_limit => 20000,
    },
    master => \@master,
);
$gp->start;

sub session {
    my ($name, $from, $helo) = @_;
    my $c = Gatepost::Smtp->new(port => $port{$name}, from => $from // '127.0.0.1') or return;
    return $c->hello($helo) ? $c : undef;
}

# What MAIL and RCPT of a new session are answered: the first refusal, or RCPT's reply.
sub rcpt {
    my ($name, $from, $sender, $to, $login) = @_;
    my $c = session($name, $from) or return 'no session';
    plain($c, 'joe', 'secret') if $login;
    my $r = $c->cmd("MAIL FROM:<$sender>");
    $r = $c->cmd("RCPT TO:<$to>") if $r->{code} == 250;
    $c->quit;
    return $r->{text};
}
my $ok = '250 2.1.5 Ok';
my $denied = qr/^554 5\.7\.1 <\S+>: Relay access denied$/;

# port, client, sender, recipient, logged in, reply
my @rows = (
    ['C4 in range', 'range', '127.0.0.9', 's@far.test', 'x@far.test', 0, $ok],
    ['C4 outside', 'range', '127.0.0.1', 's@far.test', 'x@far.test', 0, $denied],
    ['C5 both', 'both', '127.0.0.9', 's@far.test', 'u@local.test', 1, $ok],
    ['C5 range alone', 'both', '127.0.0.9', 's@far.test', 'u@local.test', 0, '554 5.7.1 <unknown[127.0.0.9]>: Client host rejected: Access denied'],
    ['C5 login alone', 'both', '127.0.0.1', 's@far.test', 'u@local.test', 1, '554 5.7.1 <u@local.test>: Recipient address rejected: Access denied'],
    ['C8 safe', 'safe', '127.0.0.5', 's@far.test', 'x@far.test', 0, $ok],
    ['C9 own address', 'own', '127.0.0.1', 's@far.test', 'x@far.test', 0, $ok],
    ['C9 another', 'own', '127.0.0.2', 's@far.test', 'x@far.test', 0, $denied],
    ['C10 own address', 'notown', '127.0.0.1', 's@far.test', 'u@local.test', 0, '554 5.7.1 <unknown[127.0.0.1]>: Client host rejected: Access denied'],
    ['C10 in range', 'notown', '127.0.0.9', 's@far.test', 'x@far.test', 0, $ok],
    ['C11 shared port', 'range', '127.0.0.1', 's@far.test', 'u@local.test', 0, $ok],
    ['C12 listed', 'open', '127.0.0.1', 's@far.test', 'x@open.test', 0, $ok],
    ['C12 below', 'open', '127.0.0.1', 's@far.test', 'x@sub.open.test', 0, $ok],
    ['C12 another', 'open', '127.0.0.1', 's@far.test', 'x@far.test', 0, $denied],
    ['C13 listed host', 'direct', '127.0.0.7', 's@far.test', 'x@far.test', 0, $ok],
    ['C13 another', 'direct', '127.0.0.1', 's@far.test', 'x@far.test', 0, $denied],
    ['C14 exists', 'exists', '127.0.0.1', 'u@local.test', 'x@far.test', 1, $ok],
    ['C14 unknown', 'exists', '127.0.0.1', 'none@local.test', 'x@far.test', 1, '550 5.1.0 <none@local.test>: Sender address rejected: User unknown in virtual mailbox table'],
    ['C14 outside', 'exists', '127.0.0.1', 'o@far.test', 'x@far.test', 1, '553 5.7.1 <o@far.test>: Sender address rejected: not owned by user joe'],
    ['C15 own', 'owner', '127.0.0.1', 'v@local.test', 'x@far.test', 1, $ok],
    ['C15 own domain', 'owner', '127.0.0.1', 'any@team.test', 'x@far.test', 1, $ok],
    ["C15 another's", 'owner', '127.0.0.1', 'w@local.test', 'x@far.test', 1, '553 5.7.1 <w@local.test>: Sender address rejected: not owned by user joe'],
    ['C15 without login', 'owner', '127.0.0.1', 'w@local.test', 'u@local.test', 0, '553 5.7.1 <w@local.test>: Sender address rejected: not logged in'],
    ['C15 nobody', 'owner', '127.0.0.1', '', 'x@far.test', 1, $ok],
    ['C16 local sender', 'login', '127.0.0.1', 'u@local.test', 'u@local.test', 0, '553 5.7.1 <u@local.test>: Sender address rejected: not logged in'],
    ['C16 logged in', 'login', '127.0.0.1', 'u@local.test', 'u@local.test', 1, $ok],
    ['C16 outside', 'login', '127.0.0.1', 's@far.test', 'u@local.test', 0, $ok],
    ['C18 user', 'accept', '127.0.0.1', 'friend@far.test', 'x@far.test', 0, $ok],
    ['C18 host', 'accept', '127.0.0.1', 'a@partner.test', 'x@far.test', 0, $ok],
    ['C18 below it', 'accept', '127.0.0.1', 'a@sub.partner.test', 'x@far.test', 0, $denied],
    ['C18 another', 'accept', '127.0.0.1', 'b@far.test', 'x@far.test', 0, $denied],
    ['D1 all but', 'allbut', '127.0.0.1', 's@far.test', 'u@local.test', 0, $ok],
    ['D1 these', 'allbut', '127.0.0.5', 's@far.test', 'u@local.test', 0, '554 5.7.1 <unknown[127.0.0.5]>: Client host rejected: Access denied'],
    ['D1 only these', 'onlythese', '127.0.0.6', 's@far.test', 'u@local.test', 0, $ok],
    ['D1 not others', 'onlythese', '127.0.0.1', 's@far.test', 'u@local.test', 0, '554 5.7.1 <unknown[127.0.0.1]>: Client host rejected: Access denied'],
    ['D2 in 127.0.3.*', 'allbut', '127.0.3.9', 's@far.test', 'u@local.test', 0, '554 5.7.1 <unknown[127.0.3.9]>: Client host rejected: go away'],
    ['D2 outside', 'allbut', '127.0.4.9', 's@far.test', 'u@local.test', 0, $ok],
    ['D2 in a list', 'star', '127.0.3.9', 's@far.test', 'x@far.test', 0, $ok],
    ['D2 not in it', 'star', '127.0.4.9', 's@far.test', 'x@far.test', 0, $denied],
    ['network by octets', 'allbut', '127.4.5.6', 's@far.test', 'u@local.test', 0, '450 4.7.1 <unknown[127.4.5.6]>: Client host rejected: later'],
    ['D3 address', 'kill', '127.0.0.1', 'BAD@Far.test', 'u@local.test', 0, '554 5.7.1 <BAD@Far.test>: Sender address rejected: Access denied'],
    ['D3 domain', 'kill', '127.0.0.1', 'x@kill.test', 'u@local.test', 0, '554 5.7.1 <x@kill.test>: Sender address rejected: Access denied'],
    ['D3 not below it', 'kill', '127.0.0.1', 'x@sub.kill.test', 'u@local.test', 0, $ok],
    ['D3 suffix', 'kill', '127.0.0.1', 'x@sub.c.test', 'u@local.test', 0, '553 5.1.8 <x@sub.c.test>: Sender address rejected: killed'],
    ['D3 suffix inside a label', 'kill', '127.0.0.1', 'x@bluec.test', 'u@local.test', 0, '553 5.1.8 <x@bluec.test>: Sender address rejected: killed'],
    ['D3 another', 'kill', '127.0.0.1', 'x@bluee.test', 'u@local.test', 0, $ok],
    ['D3 null sender', 'kill', '127.0.0.1', '', 'u@local.test', 0, $ok],
    ['class from a table', 'act', '127.0.0.1', 'x@far.test', 'class@local.test', 0, '554 5.1.8 <x@far.test>: Sender address rejected: by class'],
    ['class decides nothing', 'act', '127.0.0.1', 'y@far.test', 'class@local.test', 0, $ok],
    ['list from a table', 'act', '127.0.0.1', 'y@local', 'list@local.test', 0, '504 5.5.2 <y@local>: Sender address rejected: need fully-qualified address'],
    ['and its next', 'act', '127.0.0.1', 'y@far.test', 'list@local.test', 0, '450 4.3.2 <list@local.test>: Recipient address rejected: Try again later'],
    ['DEFER_IF_PERMIT', 'act', '127.0.0.1', 'y@far.test', 'defer@local.test', 0, '450 4.7.1 <defer@local.test>: Recipient address rejected: soon'],
    ['number', 'act', '127.0.0.1', 'y@far.test', 'num@local.test', 0, $ok],
    ['code and text', 'act', '127.0.0.1', 'y@far.test', 'reply@local.test', 0, '521 5.7.1 <reply@local.test>: Recipient address rejected: go'],
    ['a mistake', 'act', '127.0.0.1', 'y@far.test', 'odd@local.test', 0, '451 4.3.5 Server configuration error'],
);
for my $row (@rows) {
    my ($name, $port, $from, $sender, $to, $login, $want) = @$row;
    my $text = rcpt($port, $from, $sender, $to, $login);
    ref $want ? like($text, $want, $name) : is($text, $want, $name);
}

subtest 'lists at their own commands' => sub {
    my $c = Gatepost::Smtp->new(port => $port{cut});
    is($c->reply->{text}, '554 5.7.1 <unknown[127.0.0.1]>: Client host rejected: Access denied', 'C11 cut at connect');
    is($c->cmd('EHLO x')->{text}, '503 5.7.0 Error: access denied for unknown[127.0.0.1]', 'nothing more is done');
    $c->cmd('QUIT', 221);
    $gp->wait_log(qr/NOQUEUE: reject: CONNECT from unknown\[127\.0\.0\.1\]: 554 5\.7\.1 <unknown\[127\.0\.0\.1\]>: Client host rejected: Access denied; proto=SMTP$/);
    $c = Gatepost::Smtp->new(port => $port{cut}, from => '127.0.0.9');
    $c->expect(220);
    is($c->cmd('HELO -bad-')->{text}, '501 5.5.2 <-bad->: Helo command rejected: Invalid name', 'at HELO');
    $c->cmd('EHLO good.test', 250);
    is($c->cmd('MAIL FROM:<x@kill.test>')->{text}, '554 5.7.1 <x@kill.test>: Sender address rejected: Access denied', 'at MAIL');
    $c->cmd('MAIL FROM:<x@far.test>', 250);
    $c->cmd('RCPT TO:<u@local.test>', 250);
    $c->quit;
    $c = Gatepost::Smtp->new(port => $port{safe});
    is($c->reply->{code}, 554, 'C8 a client that is not safe');
    $c = session('safe', '127.0.0.5');
    is($c->mail('s@far.test', ['x@far.test', 'y@far.test'], "Subject: x\r\n\r\n" . 'x' x 200 . "\r\n")->{code}, 250,
        'C8 no limit of recipients, nor of strangers\' mail');
    $c->quit;
};

subtest 'effects' => sub {
    $gp->mark;
    my %id = map { $_ => id($gp, 'act', "$_\@local.test") } qw(hold filter redirect bcc prepend discard warn info);
    my $log = join "\n", $gp->log_lines;
    my $tail = sub {"; from=<s\@far.test> to=<$_[0]\@local.test> proto=ESMTP helo=<client.example>"};
    my %line = (
        hold => 'hold: RCPT from unknown[127.0.0.1]: <hold@local.test>: Recipient address reviewed',
        discard => 'discard: RCPT from unknown[127.0.0.1]: <discard@local.test>: Recipient address triggers DISCARD action',
        filter => 'filter: RCPT from unknown[127.0.0.1]: <filter@local.test>: Recipient address triggers FILTER smtp:[127.0.0.1]:' . $filter->port,
        redirect => 'redirect: RCPT from unknown[127.0.0.1]: <redirect@local.test>: Recipient address triggers REDIRECT other@local.test',
        bcc => 'bcc: RCPT from unknown[127.0.0.1]: <bcc@local.test>: Recipient address triggers BCC copy@local.test',
        warn => 'warn: RCPT from unknown[127.0.0.1]: watch this',
        info => 'info: RCPT from unknown[127.0.0.1]: note this',
    );
    like($log, qr/: NOQUEUE: \Q$line{$_}\E\Q@{[$tail->($_)]}\E$/m, "$_ is logged") for sort keys %line;
    unlike($log, qr/prepend:/, 'PREPEND is not');
    $gp->wait_log(qr/$id{discard}: removed \(discarded\)/);
    my @held;
    wait_until(10, sub { @held = grep {/"queue_name": ?"hold"/} $gp->queue_list });
    is(@held, 1, 'one message is held');
    like($held[0], qr/$id{hold}/, 'and it is that one');
    my $got = sub { sort map { @{ $_->{rcpts} } } $sink->messages };
    wait_until(20, sub { 6 <= (() = $got->()) });
    is(join(' ', $got->()), 'bcc@local.test copy@local.test info@local.test other@local.test prepend@local.test warn@local.test', 'who got mail');
    $gp->wait_log(qr/$id{filter}: to=<filter\@local\.test>, .* status=deferred/);
    $filter->start;
    is(join(' ', map { @{ $_->{rcpts} } } $filter->wait_messages(1)), 'filter@local.test', 'the filter gets its mail, also later');
    my ($m) = grep { $_->{rcpts}[0] eq 'prepend@local.test' } $sink->messages;
    like($m->{content}, qr/\AX-Gate: seen\r?\nReceived: /, 'the header stands above ours');
};

subtest 'DATA and its end' => sub {
    my $c = session('warn');
    is($c->mail('s@far.test', 'u@local.test', "x\r\n")->{code}, 250, 'a refusal that only warns');
    $gp->wait_log(qr/NOQUEUE: reject_warning: RCPT from unknown\[127\.0\.0\.1\]: 554 5\.7\.1 <u\@local\.test>: Recipient address rejected: Access denied; from=<s\@far\.test>/);
    $c->cmd('MAIL FROM:<d@far.test>', 250);
    $c->cmd('RCPT TO:<u@local.test>', 250);
    is($c->cmd('DATA')->{text}, '554 5.7.1 <d@far.test>: Sender address rejected: Access denied', 'at DATA');
    $c->cmd('RSET', 250);
    $c->cmd('MAIL FROM:<>', 250);
    $c->cmd('RCPT TO:<u@local.test>', 250);
    $c->cmd('RCPT TO:<v@local.test>', 250);
    is($c->cmd('DATA')->{text}, '550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce', 'a bounce to two');
    $c->cmd('RSET', 250);
    is($c->bdat('e@far.test', 'u@local.test', "Subject: x\r\n\r\nx\r\n")->{text}, '554 5.7.1 <e@far.test>: Sender address rejected: no such content', 'at the end of BDAT');
    is($c->mail('e@far.test', 'u@local.test', "x\r\n")->{code}, 554, 'and of DATA');
    is($c->mail('h@far.test', 'u@local.test', "x\r\n")->{code}, 250, 'HOLD at the end');
    $gp->wait_log(qr/: hold: END-OF-MESSAGE from unknown\[127\.0\.0\.1\]: <h\@far\.test>: Sender address triggers HOLD action; from=<h\@far\.test> to=<u\@local\.test>/);
    # The queue manager comes to know it behind the 250.
    ok(wait_until(10, sub { 2 == grep {/"hold"/} $gp->queue_list }), 'holds');
    $c->quit;
};

subtest 'C15 header From:' => sub {
    my $c = session('owner');
    plain($c, 'joe', 'secret');
    my $reply = sub {
        my ($header) = @_;
        return $c->mail('u@local.test', 'u@local.test', "$header\r\n\r\nx\r\n")->{text};
    };
    my $other = '553 5.7.1 <w@local.test>: Message header From: rejected: not owned by user joe';
    my $one = '553 5.7.1 Message header rejected: exactly one From: with valid addresses is needed';
    like($reply->('From: U <u@local.test>'), qr/^250 /, 'own');
    like($reply->('From: U <u@local.test>, v@local.test'), qr/^250 /, 'two, both own');
    is($reply->('From: W <w@local.test>'), $other, "another's");
    is($reply->('From: u@local.test, w@local.test'), $other, "own and another's");
    is($reply->("From: u\@local.test\r\nFrom: u\@local.test"), $one, 'two headers');
    is($reply->('Subject: x'), $one, 'none');
    is($reply->('From: W <w@local.test> <u@local.test>'), $one, 'two addresses in one');
    is($reply->('From: u@local.test, <w@local.test'), $other, 'one that is cut off');
    is($reply->('From: friends: u@local.test;'), $one, 'a group');
    $c->quit;
    $c = session('owner');
    like($c->mail('s@far.test', 'u@local.test', "From: w\@local.test\r\n\r\nx\r\n")->{text}, qr/^250 /, 'not without login');
    $c->quit;
};

subtest 'sizes' => sub {
    my $long = ('x' x 70 . "\r\n") x 40;
    my $c = session('size');
    is($c->{ehlo}{SIZE}, 5000, 'E6 what is advertised');
    is($c->cmd('MAIL FROM:<s@far.test> SIZE=3000')->{text}, '552 5.3.4 Message size exceeds fixed limit', 'E4 outside, at MAIL');
    is($c->mail('s@far.test', 'u@local.test', $long)->{code}, 552, 'E4 at the end');
    plain($c, 'joe', 'secret');
    is($c->mail('u@local.test', 'u@local.test', "From: u\@local.test\r\n\r\n$long")->{code}, 250, 'E4 authenticated');
    is($c->cmd('MAIL FROM:<u@local.test> SIZE=30000')->{code}, 552, 'message_size_limit holds for all');
    $c->quit;
    $c = session('nosize');
    is($c->{ehlo}{SIZE}, 0, 'E6 SIZE 0');
    is($c->cmd('MAIL FROM:<s@far.test> SIZE=30000')->{code}, 250, 'E6 not enforced');
    $c->quit;
};

subtest 'G1 VRFY' => sub {
    my $c = session('vrfy');
    is($c->cmd('VRFY u@local.test')->{text}, '250 2.0.0 u@local.test', 'known');
    is($c->cmd('VRFY none@local.test')->{code}, 550, 'unknown');
    is($c->cmd('VRFY x@far.test')->{code}, 554, 'not ours');
    $c->quit;
    is(session('novrfy')->cmd('VRFY u@local.test')->{code}, 502, 'off');
};

# Sends one message to RCPT; its queue id.
sub id {
    my ($gp, $port, $to) = @_;
    my $c = session($port);
    my $r = $c->mail('s@far.test', $to, "Subject: $to\r\n\r\nx\r\n");
    $c->quit;
    is($r->{code}, 250, "$to: taken") or diag $r->{text};
    return $c->id_of($r);
}

$gp->stop;
done_testing();

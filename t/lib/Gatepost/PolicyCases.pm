# SPDX-License-Identifier: ISC
# Configurations of smtpd's restrictions and, for each, cases to try: made from pools of clients, HELO
# names, senders and recipients by a generator with a fixed seed, so that every run has the same ones.
#
#   base()            parameters that all configurations share
#   zones()           what the name server serves
#   configurations(sasl => path of Dovecot's socket, policy => of a policy server)  [{ name, set => { parameter => value }, cases => [case, ...] }, ...]
#
# A case is { client, helo, verb, sender, rcpts => [...], login }, or with commands => [...] in the place
# of a message: lines that are said behind HELO.
package Gatepost::PolicyCases;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(base zones configurations policy_answers);

# A port's value of a parameter stands in { } in master.cf, an inline table in { } within.
sub inline {
    my %table = @_;
    return 'inline:{' . join(', ', map { $table{$_} =~ /[\s,]/ ? "{$_ = $table{$_}}" : "$_=$table{$_}" } sort keys %table) . '}';
}

sub base {
    return (
        compatibility_level => '3.6', myhostname => 'mx.example', mydomain => 'example', myorigin => '$myhostname',
        inet_interfaces => '127.0.0.1', inet_protocols => 'ipv4', mynetworks => '127.0.0.1, 127.0.0.9',
        mydestination => 'local.test', relay_domains => 'relay.test',
        virtual_alias_domains => 'alias.test', virtual_mailbox_domains => 'box.test',
        local_recipient_maps => inline('root@local.test' => 'x', 'known' => 'x', 'postmaster' => 'x'),
        relay_recipient_maps => inline('ok@relay.test' => 'x', '@sub.relay.test' => 'x'),
        virtual_alias_maps => inline('one@alias.test' => 'root@local.test', 'out@alias.test' => 'x@far.test'),
        virtual_mailbox_maps => inline('u@box.test' => 'x'),
        alias_maps => '', recipient_delimiter => '+', virtual_minimum_uid => 100,
        local_transport => 'discard:', virtual_transport => 'discard:', relay_transport => 'discard:',
        default_transport => 'discard:', relayhost => '', disable_dns_lookups => 'no',
        smtpd_banner => '$myhostname ESMTP', smtpd_peername_lookup => 'yes',
        smtpd_relay_restrictions => 'permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination',
        smtpd_recipient_restrictions => '', smtpd_error_sleep_time => 0, smtpd_soft_error_limit => 1000,
        smtpd_hard_error_limit => 1000, smtpd_client_connection_count_limit => 0, notify_classes => '',
        fast_flush_domains => '', smtpd_timeout => '60s',
    );
}

sub zones {
    return (
        test => <<'END',
local     A 127.0.0.1
good      A 127.0.3.1
good      MX 10 mx.good
mx.good   A 127.0.3.2
client.good A 127.0.1.1
other.good A 127.0.1.99
deep.sub.good A 127.0.1.7
sub.good  A 127.0.3.3
auth.good A 127.0.1.8
listed.good A 127.0.2.1
second.good A 127.0.2.2
plain     A 127.0.3.4
nomx      TXT "no address"
nullmx    MX 0 .
alien     MX 10 mx.nosuch
badmx     MX 10 mx.bad
mx.bad    A 127.0.3.66
far       MX 10 mx.good
backed    MX 10 mx.example.
backed    MX 20 mx.good
$ORIGIN rbl.test.
1.2.0.127 A 127.0.0.2
1.2.0.127 TXT "listed for a reason"
2.2.0.127 A 127.0.0.9
7.1.0.127 A 127.0.0.4
good.test A 127.0.0.2
good.test TXT "bad name"
client.good.test A 127.0.0.3
$ORIGIN wl.test.
1.2.0.127 A 127.0.0.5
good.test A 127.0.0.5
ns.bad.test. A 127.0.3.66
END
        'deleg.test' => "@ NS ns.bad.test.\n@ A 127.0.3.5\nx A 127.0.3.6\n",
        'broken.test' => "what is this\n",
        example => "mx A 127.0.0.1\n@ A 127.0.0.1\n",
        arpa => <<'END',
$ORIGIN 0.127.in-addr.arpa.
1.1 PTR client.good.test.
3.1 PTR other.good.test.
4.1 PTR nowhere.good.test.
5.1 PTR x.broken.test.
7.1 PTR deep.sub.good.test.
8.1 PTR auth.good.test.
1.2 PTR listed.good.test.
2.2 PTR second.good.test.
END
        '9.0.127.in-addr.arpa' => "what is this\n",
    );
}

# ---- pools; the first of each is the plain one ----

my %client = (
    good => '127.0.1.1', noptr => '127.0.1.2', mismatch => '127.0.1.3', noforward => '127.0.1.4',
    tempforward => '127.0.1.5', deep => '127.0.1.7', listed => '127.0.2.1', second => '127.0.2.2',
    tempptr => '127.0.9.1', mine => '127.0.0.9', self => '127.0.0.1',
);
my @clients = qw(good noptr mismatch noforward tempforward deep listed second tempptr mine self);
my @helos = qw(client.good.test good.test CLIENT.Good.Test localhost [127.0.1.1] [1.2.3] 127.0.1.1 nosuch.test under_score.test
    -bad.test x mx.example nomx.test x.broken.test a..b host! [IPv6:::1] [IPv6:1::2::3] [IPv6:2001:db8::1] deep.sub.good.test
    good.test. [] 1234 nullmx.test .good.test [127.0.0.1 far.test);
my @senders = ('s@good.test', '', 's@sub.good.test', 's@nosuch.test', 's@nullmx.test', 's@x.broken.test', 's@[127.0.3.1]',
    'bare', '"a b"@good.test', 's+ext@good.test', 'known@local.test', 'unknown@local.test', 'S@GOOD.Test', 'x%y@good.test',
    'a!b', '"a@b"@good.test', 's@[IPv6:::1]', 's@under_score.test', 's@nodots', 's@deep.sub.good.test', 's@nomx.test',
    'ok@relay.test', 'no@relay.test', 'u@box.test', 'no@box.test', 'one@alias.test', 'no@alias.test', '@far.test:s@good.test',
    's@-x.test', 's@alien.test', 'root', 'known+x@local.test', 's@mx.example', 's@plain.test', 's@badmx.test', 's@deleg.test', 's@x.deleg.test');
my @rcpts = ('root@local.test', 'no@local.test', 'ok@relay.test', 'no@relay.test', 'u@box.test', 'no@box.test', 'one@alias.test',
    'no@alias.test', 'x@far.test', 'any@sub.relay.test', 'root', 'known+ext@local.test', 'x%far.test@local.test', 'far.test!x',
    '@local.test:x@far.test', '"x@far.test"@local.test', 'root@[127.0.0.1]', 'x@[10.0.0.1]', 'postmaster', 'Root@LOCAL.test',
    'x@nosuch.test', 'x@nullmx.test', 'x@x.broken.test', '"a b"@far.test', 'x@nodots', 'x@under_score.test', 'x@local.test@far.test',
    'x@mx.example', 'out@alias.test', 'known@local.test', '"known"@local.test', 'nobody', 'x%far.test', 'x@good.test', 'POSTMASTER');

# ---- the generator ----

my $state;
sub seed { $state = $_[0] }
sub number { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return ($state >> 8) % $_[0] }
sub pick { $_[number(scalar @_)] }

sub shuffled {
    my @list = @_;
    for my $i (reverse 1 .. $#list) { my $j = number($i + 1); @list[$i, $j] = @list[$j, $i] }
    return @list;
}

# Addresses that name another destination in their local part: Gatepost never follows them, Postfix
# does for those who may relay.
my %is_routed = map { $_ => 1 } 'x%far.test@local.test', '"x@far.test"@local.test', 'x@local.test@far.test';

# The values that the configuration is about come in turn, N cases at most ("all": as many as the longest
# list has); what it is not about is plain in three of four cases.
sub cases {
    my ($about, $n) = @_;
    my %pool = (client => \@clients, helo => \@helos, sender => \@senders, rcpt => \@rcpts);
    my (%values, $longest);
    for my $dim (sort keys %pool) {
        my $list = $about->{$dim} or next;
        $list = $pool{$dim} if !ref $list;
        $values{$dim} = [shuffled(@$list)];
        $longest = @$list if ($longest // 0) < @$list;
    }
    $longest //= $about->{also} ? 0 : 4;
    $n = $longest if $n eq 'all' || $n > $longest;
    my @cases;
    for my $i (0 .. $n - 1) {
        my %case;
        for my $dim (sort keys %pool) {
            my $list = $values{$dim};
            $case{$dim} = $list ? $list->[$i % @$list] : number(4) ? $pool{$dim}[0] : pick(@{ $pool{$dim} });
        }
        $case{rcpts} = [delete $case{rcpt}];
        push @{ $case{rcpts} }, pick(@rcpts) if !number(4) && !$about->{single};
        $case{login} = pick(@{ $about->{login} }) if $about->{login};
        $case{verb} = $case{login} || number(5) ? 'EHLO' : 'HELO';
        @{ $case{rcpts} } = map { $is_routed{$_} ? 'x@far.test' : $_ } @{ $case{rcpts} } if $about->{unrouted} || $case{login} || $case{client} =~ /^(?:mine|self)$/;
        if ($about->{strict}) {
            $_ .= '@good.test' for grep { length && !/\@/ } $case{sender}, @{ $case{rcpts} };
            s/\@local.test\@/@/ for @{ $case{rcpts} };
        }
        push @cases, \%case;
    }
    my $except = $about->{except};
    @cases = grep { my $c = $_; !grep { $_ eq $except } $c->{helo}, @{ $c->{rcpts} } } @cases if defined $except;
    return @cases, @{ $about->{also} // [] };
}

sub finished {
    my ($case) = @_;
    $case->{$_->[0]} //= $_->[1] for ['client', 'good'], ['helo', $helos[0]], ['sender', $senders[0]], ['verb', 'EHLO'];
    $case->{rcpts} //= [$rcpts[0]];
    $case->{addr} = $client{ $case->{client} } // $case->{client};
    return $case;
}

sub name_of {
    my ($case) = @_;
    return join ' ', $case->{client}, $case->{verb}, $case->{helo}, '|', join ' | ', @{ $case->{commands} } if $case->{commands};
    return join ' ', $case->{client}, $case->{login} ? "as $case->{login}" : (), $case->{verb}, $case->{helo} // '-',
        "<$case->{sender}>", map {"<$_>"} @{ $case->{rcpts} };
}

# What the policy server says for the local part of a sender.
sub policy_answers {
    return { ok => 'OK', dunno => 'DUNNO', no => 'REJECT', text => 'REJECT go away', status => '550 5.7.9 no text', wait => '450 wait', defer => 'DEFER',
        permit => 'DEFER_IF_PERMIT perhaps', unless => 'DEFER_IF_REJECT perhaps', hold => 'HOLD', discard => 'DISCARD', filter => 'FILTER discard:x', redirect => 'REDIRECT u@box.test',
        bcc => 'BCC u@box.test', prepend => 'PREPEND X-Seen: yes', info => 'INFO noted', warn => 'WARN noted', list => 'reject_unauth_destination, permit', odd => 'nonsense', number => '250' };
}

# ---- the configurations ----

# Each is [name, { parameters }, { what it is about }, number of cases].
sub tables {
    my (%arg) = @_;
    my $in = \&inline;
    my $actions = $in->('a@good.test' => 'OK', 'b@good.test' => 'REJECT', 'c@good.test' => 'REJECT go away',
        'd@good.test' => '554 5.7.9 no text', 'e@good.test' => '450 wait', 'f@good.test' => 'DEFER', 'g@good.test' => 'DEFER later please',
        'h@good.test' => 'DUNNO', 'i@good.test' => 'DEFER_IF_PERMIT perhaps', 'j@good.test' => 'DEFER_IF_REJECT perhaps',
        'k@good.test' => 'HOLD look', 'l@good.test' => 'DISCARD away', 'm@good.test' => 'FILTER discard:x', 'n@good.test' => 'REDIRECT u@box.test',
        'o@good.test' => 'BCC u@box.test', 'p@good.test' => 'PREPEND X-Seen: yes', 'q@good.test' => 'INFO noted', 'r@good.test' => 'WARN noted',
        's@good.test' => '12345', 't@good.test' => 'permit_mynetworks, reject', 'u@good.test' => 'no_such_thing', 'v@good.test' => 'reject_unauth_destination',
        'w@good.test' => '421 4.3.0 hang up', 'x@good.test' => '521 5.3.0 hang up', 'y@good.test' => '250 fine', 'z@good.test' => 'ok with text',
        'aa@good.test' => '5.7.1 status only', 'ab@good.test' => '550', 'ac@good.test' => 'reject 4.7.1 odd class', 'ad@good.test' => 'DEFER_IF_PERMIT 4.7.5 why',
        'ae@good.test' => 'FILTER nonsense', 'af@good.test' => 'REDIRECT nonsense', 'ag@good.test' => 'PREPEND nonsense', 'ah@good.test' => 'BCC nonsense',
        'ai@good.test' => 'HOLD', 'aj@good.test' => 'DISCARD', 'ak@good.test' => 'strict', 'al@good.test' => 'warn_if_reject reject', 'am@good.test' => 'sleep 0, reject',
        'an@good.test' => 'check_helo_access inline:{x=OK}', 'ao@good.test' => '450 4.1.8 sender code', 'ap@good.test' => '550 5.1.1 recipient code',
        'aq@good.test' => '5501 not three', 'ar@good.test' => '0', 'as@good.test' => 'defer_if_permit', 'at@good.test' => 'defer, permit');
    my @actors = map {"$_\@good.test"} 'a' .. 'z', 'aa' .. 'at';
    my $asrcpt = $actions =~ s/good\.test/relay.test/gr;
    my @actrcpts = map { s/good/relay/r } @actors;
    my %open = (relay_recipient_maps => '');
    my $hosts = $in->('good.test' => 'REJECT by parent', '.good.test' => 'REJECT by dot', 'deep.sub.good.test' => 'OK', '127.0.2' => 'REJECT by net',
        '127.0.2.2' => '450 by address', '127' => 'REJECT class', 'unknown' => 'REJECT no name', 'other.good.test' => 'REJECT by its name', '127.0.0' => 'DUNNO');
    my $senders = $in->('s@good.test' => 'REJECT whole', 'good.test' => 'REJECT domain', '.good.test' => 'REJECT below', 's@' => 'REJECT local part',
        '<>' => 'REJECT null', 's+ext@' => 'REJECT extended', 's+ext@good.test' => 'REJECT whole extended', '[127.0.3.1]' => 'REJECT literal',
        'nodots' => 'REJECT nodots', 'test' => 'REJECT top', 'root@' => 'REJECT root', 'mx.example' => 'REJECT us', 'known@' => 'REJECT known');
    my $rcpts = $senders =~ s/good\.test/local.test/gr;
    my (@list, %main);
    my $add = sub { my ($name, $set, $about, $n) = @_; push @list, { name => $name, set => $set, main => { %main }, about => $about // {}, n => $n // 8 } };

    # Without lists, and each restriction alone, in the list that it is made for.
    $add->('defaults', {}, { rcpt => 1 }, 'all');
    $add->('defaults, senders', {}, { sender => 1 }, 'all');
    $add->('defaults, clients', {}, { client => 1, rcpt => ['x@far.test', 'root@local.test'] });
    my %client = (client => 1);
    $add->("client: $_", { smtpd_client_restrictions => $_ }, \%client) for qw(permit reject defer defer_if_permit defer_if_reject permit_mynetworks
        permit_inet_interfaces reject_plaintext_session reject_unknown_client_hostname reject_unknown_client reject_unknown_reverse_client_hostname
        permit_sasl_authenticated reject_unauth_pipelining),
        'permit_mynetworks, reject', 'reject_unknown_client_hostname, reject', 'defer_if_permit, reject', 'defer_if_reject, reject',
        'warn_if_reject reject_unknown_client_hostname, reject_unknown_reverse_client_hostname', 'warn_if_reject defer_if_permit';
    my %helo = (helo => 1);
    $add->("helo: $_", { smtpd_helo_restrictions => $_ }, \%helo, 'all') for qw(reject_invalid_helo_hostname reject_non_fqdn_helo_hostname reject_unknown_helo_hostname
        reject_invalid_hostname reject_non_fqdn_hostname reject_unknown_hostname),
        'warn_if_reject reject_non_fqdn_helo_hostname';
    $add->("sender: $_", { smtpd_sender_restrictions => $_ }, { sender => 1 }, 'all') for qw(reject_non_fqdn_sender reject_unknown_sender_domain reject_unlisted_sender),
        'reject_unlisted_sender, reject_non_fqdn_sender';
    $add->("recipient: $_", { smtpd_recipient_restrictions => $_ }, { rcpt => 1 }, 'all') for qw(reject_non_fqdn_recipient reject_unknown_recipient_domain
        reject_unlisted_recipient permit_auth_destination defer_unauth_destination check_recipient_maps);
    $add->('recipients known first', { smtpd_recipient_restrictions => 'permit_auth_destination, reject' }, { rcpt => 1, client => ['good', 'mine'] });
    $add->("$_ in relay", { smtpd_relay_restrictions => $_ }, { rcpt => 1, client => ['good', 'mine'] }) for qw(reject defer defer_if_permit),
        'permit_mynetworks, defer_unauth_destination', 'permit_auth_destination, defer', 'permit_inet_interfaces, reject_unauth_destination', 'permit_tls_all_clientcerts, reject_unauth_destination';
    $add->('multi', { smtpd_data_restrictions => 'reject_multi_recipient_bounce' }, { sender => [''], also => [{ sender => '', rcpts => ['root@local.test', 'u@box.test'] }] });
    $add->('multi at RCPT', { smtpd_recipient_restrictions => 'reject_multi_recipient_bounce' }, { sender => [''], also => [{ sender => '', rcpts => ['root@local.test', 'u@box.test'] }] });
    $add->('multi at end', { smtpd_end_of_data_restrictions => 'reject_multi_recipient_bounce' }, { sender => [''], also => [{ sender => '', rcpts => ['root@local.test', 'u@box.test'] }] });
    $add->("$_->[0]: $_->[1]", { "smtpd_$_->[0]_restrictions" => $_->[1] }, {}, 4) for map { my $l = $_; map { [$l, $_] } qw(reject defer defer_if_permit permit) } qw(sender recipient data end_of_data);
    $add->("helo: $_", { smtpd_helo_restrictions => $_ }, { client => ['good', 'mine'] }, 4) for qw(reject defer permit defer_if_reject);

    # access(5): every action in every list
    $add->('actions: sender', { smtpd_restriction_classes => 'strict', strict => 'reject_non_fqdn_helo_hostname, reject', smtpd_sender_restrictions => "check_sender_access $actions" }, { sender => \@actors }, 'all');
    $add->('actions: recipient', { %open, smtpd_restriction_classes => 'strict', strict => 'reject_non_fqdn_helo_hostname, reject',
        smtpd_recipient_restrictions => "check_recipient_access $asrcpt" }, { rcpt => \@actrcpts }, 'all');
    $add->('actions: data', { smtpd_restriction_classes => 'strict', strict => 'reject', smtpd_data_restrictions => "check_sender_access $actions" }, { sender => \@actors });
    $add->('actions: end of data', { smtpd_restriction_classes => 'strict', strict => 'reject', smtpd_end_of_data_restrictions => "check_sender_access $actions" }, { sender => \@actors });
    $add->('actions: relay', { smtpd_restriction_classes => 'strict', strict => 'reject', smtpd_relay_restrictions => "check_sender_access $actions, reject_unauth_destination" },
        { sender => \@actors, rcpt => ['root@local.test', 'x@far.test'] });
    (my $byhelo = $actions) =~ s/\@good\.test/.helo.test/g;
    $add->('actions: helo', { smtpd_restriction_classes => 'strict', strict => 'reject', smtpd_helo_restrictions => "check_helo_access $byhelo" }, { helo => [map { s/\@good/.helo/r } @actors] });
    $add->('actions: helo, not delayed', { smtpd_delay_reject => 'no', smtpd_restriction_classes => 'strict', strict => 'reject', smtpd_helo_restrictions => "check_helo_access $byhelo" },
        { helo => [map { s/\@good/.helo/r } @actors] });
    $add->('actions: sender, not delayed', { smtpd_delay_reject => 'no', smtpd_restriction_classes => 'strict', strict => 'reject_non_fqdn_helo_hostname, reject', smtpd_sender_restrictions => "check_sender_access $actions" },
        { sender => \@actors });
    $add->('actions: soft bounce', { soft_bounce => 'yes', smtpd_restriction_classes => 'strict', strict => 'reject', smtpd_sender_restrictions => "check_sender_access $actions" }, { sender => [@actors[0 .. 12, 22 .. 30]] });
    $add->('actions: warned', { smtpd_restriction_classes => 'strict', strict => 'reject', smtpd_sender_restrictions => "warn_if_reject check_sender_access $actions" }, { sender => \@actors });

    # lookup orders
    $add->("hosts: $_", { smtpd_client_restrictions => "$_ $hosts" }, \%client, 'all') for qw(check_client_access check_reverse_client_hostname_access);
    $add->("hosts by dots: $_", { parent_domain_matches_subdomains => '', smtpd_client_restrictions => "$_ $hosts" }, \%client, 'all') for qw(check_client_access check_reverse_client_hostname_access);
    $add->('hosts: check_helo_access', { smtpd_helo_restrictions => "check_helo_access $hosts" }, \%helo);
    $add->('hosts: cidr', { smtpd_client_restrictions => 'check_client_access cidr:{{127.0.2.0/24 REJECT net}, {!127.0.1.0/24 450 others}, {127.0.1.1 OK}, {::/0 REJECT}}, reject' }, \%client);
    $add->('hosts: regexp', { smtpd_client_restrictions => 'check_client_access regexp:{{/^deep\./ REJECT deep}, {/^127\.0\.2\.(.)$$/ 450 host $$1}}' }, \%client);
    $add->('hosts: check_helo_access by pattern', { smtpd_helo_restrictions => 'check_helo_access regexp:{{/^(CLIENT.*)$$/ 450 name $$1}, {/^(\[.*)$$/ REJECT literal $$1}}' }, \%helo);
    $add->('hosts: check_client_access, OK by pattern', { smtpd_client_restrictions => 'check_reverse_client_hostname_access regexp:{{/good/ DUNNO}, {/nowhere/ OK}}, reject' }, \%client);
    $add->('senders', { smtpd_sender_restrictions => "check_sender_access $senders" }, { sender => 1 }, 'all');
    $add->('senders by dots', { parent_domain_matches_subdomains => 'relay_domains', smtpd_sender_restrictions => "check_sender_access $senders" }, { sender => 1 });
    $add->('senders without extension', { recipient_delimiter => '', smtpd_sender_restrictions => "check_sender_access $senders" }, { sender => ['s+ext@good.test', 's+ext@far.test', 's+x@far.test', 's@good.test'] });
    $add->('senders, null key', { smtpd_null_access_lookup_key => 'nobody', smtpd_sender_restrictions => 'check_sender_access inline:{nobody=REJECT, {<> = DEFER}}' }, { sender => ['', 'nobody', 's@good.test'] });
    $add->('recipients', { smtpd_recipient_restrictions => "check_recipient_access $rcpts" }, { rcpt => 1 }, 'all');
    $add->('recipients by dots', { parent_domain_matches_subdomains => 'relay_domains', smtpd_recipient_restrictions => "check_recipient_access $rcpts" }, { rcpt => 1 });
    $add->('senders: regexp', { smtpd_sender_restrictions => 'check_sender_access regexp:{{/^s@(.*)$$/ 550 5.7.1 from $$1}, {/^$$/ REJECT empty}, {/^<>$$/ REJECT null}}' }, { sender => 1 });
    $add->('sender access at client', { smtpd_client_restrictions => "check_sender_access $senders, check_recipient_access $rcpts" }, { sender => 1 });
    $add->('recipient access at helo', { smtpd_helo_restrictions => "check_recipient_access $rcpts, check_client_access $hosts" }, { rcpt => 1 });
    $add->('everything at the end', { smtpd_end_of_data_restrictions => "check_client_access $hosts, check_helo_access $hosts, check_sender_access $senders, check_recipient_access $rcpts" }, { client => 1, sender => 1 });
    $add->('everything at data', { smtpd_data_restrictions => "check_helo_access $hosts, check_sender_access $senders, check_recipient_access $rcpts" }, { sender => 1, rcpt => 1 });

    # statuses of tables, as they are fitted to what they are used for
    my @codes = map {"c$_"} 0 .. 9;
    my $codes = join ', ', map { my $c = $_; map {"{c$c\@$_.test = 550 5.1.$c code}"} 'good', 'local' } 0 .. 9;
    my $names = join ', ', map {"{c$_.test = 450 4.1.$_ code}"} 0 .. 9;
    $add->('statuses: sender', { smtpd_sender_restrictions => "check_sender_access inline:{$codes}" }, { sender => [map {"$_\@good.test"} @codes] }, 'all');
    $add->('statuses: recipient', { smtpd_recipient_restrictions => "check_recipient_access inline:{$codes}" }, { rcpt => [map {"$_\@local.test"} @codes] }, 'all');
    $add->('statuses: helo', { smtpd_helo_restrictions => "check_helo_access inline:{$names}" }, { helo => [map {"$_.test"} @codes] }, 'all');

    # what the DNS says
    $add->("client: $_", { smtpd_client_restrictions => $_ }, { client => 1 }, 'all') for 'reject_rbl_client rbl.test', 'reject_rbl_client rbl.test=127.0.0.2', 'reject_rbl_client rbl.test=127.0.0.[4..9]',
        'permit_dnswl_client wl.test, reject', 'reject_rhsbl_client rbl.test', 'reject_rhsbl_reverse_client rbl.test', 'permit_rhswl_client wl.test, reject', 'reject_rbl_client x.broken.test',
        'permit_dnswl_client x.broken.test, reject_unknown_client_hostname', 'warn_if_reject reject_rbl_client rbl.test';
    $add->('codes: rbl', { smtpd_client_restrictions => 'reject_rbl_client rbl.test', maps_rbl_reject_code => 450, default_rbl_reply => '$$rbl_code refused $$rbl_class <$$rbl_what> by $$rbl_domain$${rbl_reason?: $$rbl_reason} $$client|$$client_address|$$client_name|$$helo_name|$$recipient|$$recipient_domain|$$sender|$$sender_domain|$$sender_name|$$recipient_name|$$rbl_txt' }, { client => ['listed', 'second', 'deep', 'good'] });
    $add->('codes: rbl maps', { smtpd_client_restrictions => 'reject_rbl_client rbl.test=127.0.0.2', rbl_reply_maps => 'inline:{{rbl.test=127.0.0.2 = $$rbl_code 5.7.9 special $$rbl_what}}' }, { client => ['listed', 'second', 'deep', 'good'] });
    $add->('helo: rhsbl', { smtpd_helo_restrictions => 'reject_rhsbl_helo rbl.test' }, { helo => 1 });
    $add->('sender: rhsbl', { smtpd_sender_restrictions => 'reject_rhsbl_sender rbl.test' }, { sender => 1 }, 'all');
    $add->('recipient: rhsbl', { smtpd_recipient_restrictions => 'reject_rhsbl_recipient rbl.test, reject_rhsbl_sender rbl.test=127.0.0.[1;2]' }, { rcpt => 1, sender => 1 });
    my $servers = $in->('127.0.3.1' => 'REJECT by address', '127.0.3' => '450 by net', 'mx.good.test' => 'REJECT by server', 'bad.test' => 'REJECT by parent', 'alien.test' => 'DUNNO', 'ns.test' => 'REJECT by name server', 'nosuch.test' => 'REJECT no such');
    for my $what (qw(mx ns a)) {
        $add->("servers: sender $what", { smtpd_sender_restrictions => "check_sender_${what}_access $servers" }, { sender => 1 }, 'all');
        $add->("servers: recipient $what", { smtpd_recipient_restrictions => "check_recipient_${what}_access $servers" }, { rcpt => 1, client => ['mine'], except => 'x%far.test' }, 20);
        $add->("servers: helo $what", { smtpd_helo_restrictions => "check_helo_${what}_access $servers" }, { helo => 1, except => 'good.test.' }, 20);
        $add->("servers: client $what", { smtpd_client_restrictions => "check_client_${what}_access $servers" }, { client => 1 }, 'all');
        $add->("servers: reverse $what", { smtpd_client_restrictions => "check_reverse_client_hostname_${what}_access $servers" }, { client => 1 }, 'all');
    }
    $add->('codes: domains', { unknown_address_reject_code => 550, unknown_address_tempfail_action => 'defer', smtpd_sender_restrictions => 'reject_unknown_sender_domain' }, { sender => 1 }, 'all');
    $add->('codes: unknown helo', { unknown_hostname_reject_code => 550, unknown_helo_hostname_tempfail_action => 'defer', smtpd_helo_restrictions => 'reject_unknown_helo_hostname' }, { helo => 1 }, 'all');
    $add->('mx backup', { smtpd_relay_restrictions => 'permit_mx_backup, reject_unauth_destination', permit_mx_backup_networks => '127.0.0.0/8' }, { rcpt => ['x@backed.test', 'x@far.test', 'root@local.test', 'x@nosuch.test', 'x@x.broken.test', 'x%far.test@local.test', 'x@good.test'] }, 'all');
    $add->('mx backup, other networks', { smtpd_relay_restrictions => 'permit_mx_backup, reject_unauth_destination', permit_mx_backup_networks => '10.0.0.0/8' }, { rcpt => ['x@backed.test', 'x@far.test', 'ok@relay.test'] }, 'all');

    # logins; the passwords are Dovecot's
    my %auth = (smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'dovecot', smtpd_sasl_path => $arg{sasl},
        smtpd_sender_login_maps => 'inline:{s@good.test=joe, {known@local.test=joe, ann}, @box.test=ann, {root = ann}, {s@sub.good.test = ann joe}}');
    my @who = ('joe', 'ann', '', '');
    $add->("login: $_", { %auth, smtpd_sender_restrictions => $_ }, { sender => 1, login => \@who }, 'all') for qw(reject_sender_login_mismatch reject_authenticated_sender_login_mismatch
        reject_known_sender_login_mismatch reject_unauthenticated_sender_login_mismatch);
    $add->('login: relay', { %auth }, { rcpt => ['x@far.test', 'root@local.test', 'ok@relay.test', 'no@relay.test', 'x@good.test', 'no@local.test'], login => \@who }, 12);
    $add->('login: only', { %auth, smtpd_client_restrictions => 'permit_sasl_authenticated, reject' }, { client => ['good', 'mine', 'noptr'], login => \@who }, 'all');
    $add->('login: by name', { %auth, smtpd_client_restrictions => 'check_sasl_access inline:{joe=REJECT, {ann = 450 4.7.9 later}}' }, { client => ['good', 'mine', 'noptr', 'deep', 'listed', 'second'], login => \@who }, 'all');
    $add->('login: now, by name', { %auth, smtpd_delay_reject => 'no', smtpd_sender_restrictions => 'check_sasl_access inline:{joe=REJECT}, reject_sender_login_mismatch' }, { sender => ['s@good.test', 'known@local.test', '', 'x@far.test', 'u@box.test', 's@sub.good.test'], login => \@who }, 'all');
    $add->('login: a table that fails', { %auth, smtpd_sender_login_maps => 'fail:x', smtpd_sender_restrictions => 'reject_sender_login_mismatch' }, { client => ['good', 'mine'], login => ['joe'] }, 'all');
    $add->('login: wrong', { %auth }, { client => ['good', 'mine'], login => ['nobody'] }, 'all');

    # a policy server, which answers by the sender
    my @asked = map {"$_\@policy.test"} sort keys %{ policy_answers() };
    $add->("policy: $_", { "smtpd_${_}_restrictions" => "check_policy_service $arg{policy}" }, { sender => \@asked }, 'all') for qw(recipient data);
    $add->("policy: $_", { "smtpd_${_}_restrictions" => "check_policy_service $arg{policy}" }, { sender => \@asked }, 6) for qw(client sender end_of_data);
    $add->('policy: none there', { smtpd_recipient_restrictions => "check_policy_service { inet:127.0.0.1:1, try_limit=1, timeout=2s, default_action=$_ }", }, {}, 2) for 'DUNNO', 'DEFER';
    $add->('policy: warned', { smtpd_recipient_restrictions => "warn_if_reject check_policy_service $arg{policy}" }, { sender => \@asked }, 'all');

    # not delayed
    my %now = (smtpd_delay_reject => 'no');
    $add->("now, client: $_", { %now, smtpd_client_restrictions => $_ }, { client => ['good', 'mine', 'noptr'] }, 3) for qw(reject defer defer_if_permit defer_if_reject reject_unknown_client_hostname),
        'permit_mynetworks, reject', 'warn_if_reject reject', 'check_sender_access inline:{s@good.test=REJECT}', 'permit_mynetworks, check_client_access inline:{127.0.1.1=421, {unknown=521 5.7.1 off}}';
    $add->("now, helo: $_", { %now, smtpd_helo_restrictions => $_ }, { helo => ['x', 'client.good.test', '[1.2.3]'] }, 3) for qw(reject defer defer_if_permit reject_non_fqdn_helo_hostname reject_invalid_helo_hostname);
    $add->("now, sender: $_", { %now, smtpd_sender_restrictions => $_ }, { sender => ['bare', 's@good.test', '', 'unknown@local.test'] }, 3) for qw(reject defer defer_if_permit defer_if_reject reject_non_fqdn_sender reject_unlisted_sender),
        'check_recipient_access inline:{root@local.test=REJECT}', 'reject_unauth_destination';
    $add->('now, helo required', { %now, smtpd_helo_required => 'yes', smtpd_helo_restrictions => 'reject_invalid_helo_hostname' }, { also => [{ verb => '' }, { verb => '', client => 'mine' }] });
    $add->('helo required', { smtpd_helo_required => 'yes' }, { also => [{ verb => '' }] }, 1);
    $add->('no helo', { smtpd_helo_restrictions => 'reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, check_helo_access static:REJECT' }, { also => [{ verb => '' }, { verb => '', sender => '' }] }, 1);

    # Commands beside those of a message.
    my $said = sub { my ($clients, @commands) = @_; return { also => [map { { client => $_, commands => [@commands] } } @$clients] } };
    my @asks = map {"VRFY $_"} 'root@local.test', 'no@local.test', 'root', 'postmaster', 'ok@relay.test', 'no@relay.test', 'u@box.test', 'no@box.test', 'one@alias.test', 'x@far.test', 'known+x@local.test', '"a b"@local.test', 'x@';
    $add->("vrfy: $_->[0]: $_->[1]", { "smtpd_$_->[0]_restrictions" => $_->[1] . ($_->[0] eq 'relay' ? ', reject_unauth_destination' : '') }, $said->(['good', 'mine'], @asks)) for ['client', ''], ['client', 'permit_mynetworks, reject'], ['client', "check_client_access $hosts"],
        ['helo', 'reject_invalid_helo_hostname, reject'], ['sender', 'reject'], ['sender', "check_sender_access $senders"], ['relay', 'permit_mynetworks'], ['recipient', 'permit_mynetworks, reject'], ['recipient', "check_recipient_access $rcpts"],
        ['recipient', 'defer_if_permit'], ['data', 'reject'], ['recipient', 'check_recipient_access fail:x'];
    $add->('vrfy: off', { disable_vrfy_command => 'yes' }, $said->(['good'], @asks[0 .. 2], 'VRFY'));
    $add->('vrfy: with a sender', { smtpd_sender_restrictions => "check_sender_access $senders" }, $said->(['good'], 'MAIL FROM:<s@good.test>', @asks[0 .. 2], 'RCPT TO:<root@local.test>'));
    $add->('vrfy: syntax', {}, $said->(['good'], 'VRFY', 'VRFY a b', 'VRFY root@'));
    my %speaks = (smtpd_authorized_xclient_hosts => '127.0.0.9', smtpd_client_restrictions => "check_client_access $hosts", smtpd_helo_restrictions => 'reject_invalid_helo_hostname');
    my @mail = ('EHLO client.good.test', 'MAIL FROM:<s@good.test>', 'RCPT TO:<root@local.test>', 'RCPT TO:<x@far.test>', 'RSET');
    my @attributes = ('XCLIENT NAME=deep.sub.good.test ADDR=127.0.1.7', 'XCLIENT NAME=[UNAVAILABLE] ADDR=127.0.2.1', 'XCLIENT NAME=[TEMPUNAVAIL] ADDR=127.0.3.1',
        'XCLIENT NAME=other.good.test REVERSE_NAME=rev.test', 'XCLIENT HELO=a..b PROTO=ESMTP', 'XCLIENT PROTO=SMTP HELO=x+2Ey', 'XCLIENT PORT=99 NAME=good.test ADDR=127.0.2.2', 'XCLIENT DESTADDR=127.0.0.5 DESTPORT=25 NAME=a.test ADDR=127.0.1.3');
    my @bad = ('XCLIENT', 'XCLIENT NAME', 'XCLIENT NAME=', 'XCLIENT NAME=a b', 'XCLIENT COLOUR=red', 'XCLIENT ADDR=1.2.3', 'XCLIENT PORT=x', 'XCLIENT PROTO=HTTP', 'XCLIENT NAME=-a', 'XCLIENT HELO=' . 'x' x 300,
        'XFORWARD NAME=x.test', 'XFORWARD', 'XCLIENT REVERSE_NAME=b..c');
    $add->('xclient', { %speaks }, { also => [map { my $a = $_; map { { client => $_, commands => [$a, @mail] } } 'mine', 'good' } @attributes] });
    $add->('other: xclient, an address alone', { %speaks }, { also => [{ client => 'mine', commands => ['XCLIENT ADDR=127.0.1.1', @mail] }] });
    $add->('xclient: now', { %speaks, %now }, { also => [map { { client => 'mine', commands => [$_, @mail] } } @attributes] });
    $add->('xclient: twice', { %speaks }, $said->(['mine'], map { ($_, @mail) } @attributes[0, 1, 0]));
    $add->('xclient: bad', { %speaks, smtpd_authorized_xforward_hosts => '127.0.1.1' }, $said->(['mine', 'good'], @bad, $mail[1], $attributes[0]));
    $add->('xforward: bad', { smtpd_authorized_xforward_hosts => '127.0.0.9' }, $said->(['mine'], map({ s/XCLIENT/XFORWARD/r } grep { !/HTTP/ } @bad), 'XFORWARD SOURCE=HERE', 'XFORWARD SOURCE=local IDENT=x+20y', @mail));

    # Which commands count in rates: three of each are free.
    my %rates = (smtpd_client_event_limit_exceptions => '127.0.0.9', smtpd_helo_required => 'yes', anvil_rate_time_unit => '600s');
    my @once = ('EHLO x', 'MAIL FROM:<s@good.test>', 'RSET');
    $add->("rates: MAIL: $_->[0]", { %rates, smtpd_client_message_rate_limit => 3 }, { also => [{ verb => '', client => $_->[1], commands => [@{ $_->[2] }, (@once) x 3] }] }) for
        ['all', 'good', []], ['not before HELO', 'second', ['MAIL FROM:<x@good.test>']], ['nested', 'deep', ['EHLO x', 'MAIL FROM:<x@good.test>', 'MAIL FROM:<x@good.test>', 'RSET']],
        ['a bad address', 'noptr', ['EHLO x', 'MAIL FROM:<@>', 'MAIL FROM:<s@good.test> SIZE=x', 'MAIL FROM:<s@good.test> WHAT']], ['refused', 'listed', ['EHLO x', 'MAIL FROM:<big@good.test> SIZE=99999999999']], ['exempt', 'mine', [('EHLO x', 'MAIL FROM:<s@good.test>', 'RSET') x 2]];
    $add->("rates: RCPT: $_->[0]", { %rates, smtpd_client_recipient_rate_limit => 3 }, { also => [{ client => $_->[1], commands => [@{ $_->[2] }, 'MAIL FROM:<s@good.test>', ('RCPT TO:<root@local.test>') x 4] }] }) for
        ['all', 'good', []], ['out of order', 'second', ['RCPT TO:<root@local.test>']], ['refused', 'deep', ['MAIL FROM:<s@good.test>', 'RCPT TO:<x@far.test>', 'RCPT TO:<no@local.test>', 'RSET']], ['a bad address', 'noptr', ['MAIL FROM:<s@good.test>', 'RCPT TO:<>', 'RCPT TO:<root@local.test> WHAT', 'RSET']];

    # text behind refusals
    my @footed = ('x@far.test', 'no@local.test', 'root@local.test', 'x%far.test@local.test');
    my %footer = (smtpd_sender_restrictions => 'check_sender_access inline:{{w@good.test = 421 4.3.0 hang up}}');
    my %about = (rcpt => \@footed, sender => ['s@good.test', '', 'w@good.test', 'bad@'], client => ['good', 'mine'], helo => ['good.test', '']);
    $add->("footer: $_", { %footer, smtpd_reject_footer => $_ }, \%about, 4) for 'See http://x.test/', '\c. See x', 'one\ntwo\n', '\c\nx', '\ctwo\c\nthree', 'by $$server_name, to $$client $$client_address $$client_name [$$helo_name]',
        '$$$$ ${client_address?{yes}:{no}}';
    $add->('footer: soft', { %footer, soft_bounce => 'yes', smtpd_reject_footer => 'one\ntwo' }, \%about);
    $add->('footer: maps', { %footer, smtpd_reject_footer => 'other', smtpd_reject_footer_maps => 'regexp:{{/^421/ hung\nup} {/^5.*unknown in (.*)/i \c; look into $$1} {/^554 5.7.1 <x@far.test>: Relay access denied$$/ exactly}}' }, \%about, 8);
    $add->('footer: failing maps', { %footer, smtpd_reject_footer => 'other', smtpd_reject_footer_maps => 'fail:x' }, \%about, 4);

    # what Gatepost does otherwise (differential.t says why)
    $add->('other: routed', {}, { also => [map { { client => 'mine', rcpts => [$_] } } 'x%far.test@local.test', '"x@far.test"@local.test'] });
    $add->('other: empty local part', {}, { also => [{ sender => '""@good.test' }] });
    $add->('other: strict and no domain', { strict_rfc821_envelopes => 'yes' }, { also => [{ sender => 'bare' }] });
    $add->('other: a dot behind a host name', { smtpd_helo_restrictions => 'check_helo_a_access inline:{{127.0.3.1 = REJECT here}}' }, { also => [{ helo => 'good.test.' }] });
    $add->('other: name servers without a domain', { smtpd_recipient_restrictions => 'check_recipient_ns_access inline:{{ns.test = REJECT there}}' }, { also => [{ client => 'mine', rcpts => ['x%far.test'] }] });
    $add->('other: a host of /etc/hosts alone', { smtpd_helo_restrictions => 'check_helo_a_access inline:{{127.0.0.1 = REJECT here}}' }, { also => [{ helo => 'localhost' }] });
    $add->('other: warned of a table that fails', { smtpd_sender_restrictions => 'warn_if_reject check_sender_access fail:x' }, { also => [{}] });

    # codes
    $add->('codes: client', { smtpd_client_restrictions => 'reject_unknown_client_hostname, check_client_access inline:{127.0.1.7=REJECT, 127.0.0.9=DEFER}', unknown_client_reject_code => 554, access_map_reject_code => 571, access_map_defer_code => 471 }, \%client);
    $add->('codes: list', { smtpd_client_restrictions => 'permit_mynetworks, reject', reject_code => 553 }, { client => ['good', 'mine'] }, 3);
    $add->('codes: defer', { smtpd_client_restrictions => 'permit_mynetworks, defer', defer_code => 451 }, { client => ['good', 'mine'] }, 3);
    $add->('codes: helo', { smtpd_helo_restrictions => 'reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname', invalid_hostname_reject_code => 550, non_fqdn_reject_code => 450 }, \%helo);
    $add->('codes: users', { unknown_local_recipient_reject_code => 450, unknown_virtual_mailbox_reject_code => 451, unknown_virtual_alias_reject_code => 452, unknown_relay_recipient_reject_code => 453, relay_domains_reject_code => 556 }, { rcpt => 1 });
    $add->('codes: relay', { relay_domains_reject_code => 450 }, { rcpt => ['x@far.test', 'x%far.test@local.test', 'far.test!x'] }, 3);
    $add->('codes: multi', { multi_recipient_bounce_reject_code => 450, smtpd_data_restrictions => 'reject_multi_recipient_bounce' }, { also => [{ sender => '', rcpts => ['root@local.test', 'u@box.test'] }] }, 1);
    $add->('codes: plaintext', { plaintext_reject_code => 550, smtpd_client_restrictions => 'reject_plaintext_session' }, {}, 2);

    # settings around
    $add->('soft bounce', { soft_bounce => 'yes' }, { rcpt => 1 });
    $add->('unlisted left alone', { smtpd_reject_unlisted_recipient => 'no' }, { rcpt => 1 });
    $add->('unlisted senders', { smtpd_reject_unlisted_sender => 'yes' }, { sender => 1 });
    $add->('unlisted senders now', { %now, smtpd_reject_unlisted_sender => 'yes' }, { sender => 1 });
    $add->('recipient lists first', { smtpd_relay_before_recipient_restrictions => 'no', smtpd_recipient_restrictions => 'reject_non_fqdn_recipient, check_recipient_access inline:{x@far.test=OK}' }, { rcpt => 1 });
    $add->('relay lists first', { smtpd_relay_before_recipient_restrictions => 'yes', smtpd_recipient_restrictions => 'reject_non_fqdn_recipient, check_recipient_access inline:{x@far.test=OK}' }, { rcpt => 1 });
    $add->('strict envelopes', { strict_rfc821_envelopes => 'yes' }, { sender => 1, strict => 1 }, 'all');
    $add->('strict recipients', { strict_rfc821_envelopes => 'yes' }, { rcpt => 1, strict => 1 }, 'all');

    # classes and combinations
    $add->('classes', { smtpd_restriction_classes => 'one, two, three', one => 'reject_non_fqdn_sender, two', two => 'check_client_access inline:{127.0.1.7=three}', three => 'reject',
        smtpd_sender_restrictions => 'one, reject_unlisted_sender' }, { client => 1, sender => 1 });
    $add->('a class in itself', { smtpd_restriction_classes => 'one', one => 'check_sender_access inline:{s@good.test=one}', smtpd_sender_restrictions => 'one' }, {}, 3) if 0;
    $add->('class by client', { smtpd_restriction_classes => 'free, strict', free => 'permit', strict => 'reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, reject_unlisted_sender',
        smtpd_client_restrictions => 'check_client_access inline:{127.0.1.1=strict, 127.0.1.2=free}', smtpd_recipient_restrictions => 'check_client_access inline:{127.0.1.7=strict}, reject_non_fqdn_recipient' }, { client => 1, helo => 1 });
    $add->('an ISP', { smtpd_helo_required => 'yes', smtpd_client_restrictions => 'permit_mynetworks, check_client_access cidr:{{127.0.2.0/24 REJECT}}, reject_unknown_reverse_client_hostname',
        smtpd_helo_restrictions => 'permit_mynetworks, reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname',
        smtpd_sender_restrictions => 'permit_mynetworks, reject_non_fqdn_sender, reject_unlisted_sender', smtpd_data_restrictions => 'reject_unauth_pipelining, reject_multi_recipient_bounce',
        smtpd_recipient_restrictions => 'reject_non_fqdn_recipient, permit_mynetworks, check_recipient_access inline:{{u@box.test = 450 greylisted}}' }, { client => 1, helo => 1, sender => 1, rcpt => 1 });
    $add->('an ISP, deferring', { smtpd_client_restrictions => 'permit_mynetworks, defer_if_permit', smtpd_sender_restrictions => 'reject_non_fqdn_sender', smtpd_recipient_restrictions => 'reject_non_fqdn_recipient' }, { client => 1, sender => 1, rcpt => 1 });
    $add->('defers instead of refusing', { smtpd_client_restrictions => 'defer_if_reject', smtpd_sender_restrictions => 'defer_if_reject, reject_non_fqdn_sender', smtpd_recipient_restrictions => 'defer_if_reject, reject_non_fqdn_recipient' }, { sender => 1, rcpt => 1 });
    $add->('warned', { smtpd_sender_restrictions => 'warn_if_reject reject_non_fqdn_sender, warn_if_reject reject_unlisted_sender', smtpd_recipient_restrictions => 'warn_if_reject reject_non_fqdn_recipient, warn_if_reject reject' }, { sender => 1, rcpt => 1 });
    $add->('warned of relaying', { smtpd_relay_restrictions => 'permit_mynetworks, warn_if_reject reject_unauth_destination, reject_unauth_destination' }, { rcpt => 1 });
    $add->('logins unknown', { smtpd_sender_login_maps => 'inline:{s@good.test=joe, {known@local.test=joe, ann}, @box.test=ann}', smtpd_sender_restrictions => $_ }, { sender => 1 }, 3)
        for qw(reject_known_sender_login_mismatch reject_unauthenticated_sender_login_mismatch reject_sender_login_mismatch);

    # tables that fail, in every place
    $add->("fails: $_->[0]: $_->[1]", { "smtpd_$_->[0]_restrictions" => $_->[1] . ($_->[0] eq 'relay' ? ', reject_unauth_destination' : '') }, { client => ['good', 'mine'] }, 2) for
        (map { my $l = $_; map { [$l, "$_ fail:x"] } qw(check_client_access check_sender_access check_helo_access check_recipient_access) } qw(client helo sender relay recipient data end_of_data)),
        ['client', 'check_reverse_client_hostname_access fail:x'], ['recipient', 'check_client_access fail:x, permit'];
    $add->("fails: $_", { $_ => 'fail:x' }, { rcpt => ['root@local.test', 'ok@relay.test', 'u@box.test', 'one@alias.test', 'x@far.test'] }) for qw(local_recipient_maps relay_recipient_maps virtual_mailbox_maps virtual_alias_maps);
    $add->("fails: $_", { $_ => 'fail:x' }, { client => ['good', 'mine'] }, 2) for qw(mynetworks);
    $add->('fails: logins', { smtpd_sender_login_maps => 'fail:x', smtpd_sender_restrictions => 'reject_unauthenticated_sender_login_mismatch' }, {}, 2);
    $add->('fails: now', { %now, smtpd_client_restrictions => 'check_client_access fail:x' }, {}, 2);

    # probes
    %main = (transport_maps => $in->('bad@relay.test' => 'error:5.1.1 nobody there', 'wait@relay.test' => 'retry:4.2.1 not now', 'bad@good.test' => 'error:5.1.1 nobody there'),
        relay_recipient_maps => '', address_verify_poll_delay => '1s', address_verify_poll_count => 15, address_verify_map => '', fast_flush_domains => '');
    my @probed = ('bad@relay.test', 'good@relay.test', 'wait@relay.test', 'root@local.test', 'no@local.test', 'u@box.test', 'bad@good.test', 'x@far.test');
    $add->('probes: recipient', { smtpd_recipient_restrictions => 'reject_unverified_recipient' }, { client => ['mine'], single => 1, rcpt => \@probed }, 'all');
    $add->('probes: sender', { smtpd_sender_restrictions => 'reject_unverified_sender' }, { sender => ['', @probed] }, 'all');
    $add->('probes: codes', { smtpd_recipient_restrictions => 'reject_unverified_recipient', unverified_recipient_reject_code => 550, unverified_recipient_reject_reason => 'address is no good' }, { client => ['mine'], single => 1, rcpt => \@probed }, 'all');

    # What Postfix's trivial-rewrite reads is one for all ports of an instance.
    my @ways = ('root', 'postmaster', 'nobody', 'x%far.test', 'far.test!x', 'x@nodots', 'x@mx',
        'any@sub.relay.test', 'ok@relay.test', 'x@deep.sub.relay.test', 'no@other.relay.test', 'x@far.test', 'ok@Relay.TEST');
    %main = (allow_percent_hack => 'no', swap_bangpath => 'no', append_dot_mydomain => 'yes', parent_domain_matches_subdomains => '', relay_domains => '.relay.test, far.test', relay_recipient_maps => '');
    $add->('other rewriting', {}, { unrouted => 1, rcpt => \@ways, sender => ['s@nodots', 'bare', 'a!b', 's@good.test'] }, 'all');
    $add->('other rewriting, from mynetworks', {}, { unrouted => 1, rcpt => \@ways, client => ['mine'] }, 'all');
    # ETRN: the domains are one for all ports, too.
    %main = (fast_flush_domains => 'relay.test, good.test');
    my @flush = ('ETRN relay.test', 'ETRN @relay.test', 'ETRN #relay.test', 'ETRN x.relay.test', 'ETRN far.test', 'ETRN good.test', 'ETRN [127.0.0.1]', 'ETRN', 'ETRN a b', 'ETRN a..b', 'ETRN -bad.test', 'ETRN <relay.test>', 'etrn RELAY.test', 'NOOP');
    my $etrn = $in->('relay.test' => 'REJECT not that', 'good.test' => 'DEFER', '.relay.test' => '450 below', 'x.relay.test' => 'OK', 'far.test' => '554 5.7.9 far');
    my $hold = $in->('relay.test' => 'HOLD', 'good.test' => 'FILTER a:b');
    $add->("etrn: $_", { smtpd_etrn_restrictions => $_ }, $said->(['good', 'mine', 'noptr'], @flush)) for '', 'reject', 'defer', 'permit_mynetworks, reject', 'permit_mynetworks, defer_if_permit', 'defer_if_reject, reject',
        'warn_if_reject reject', "check_etrn_access $etrn", "check_client_access $hosts, reject", 'reject_unknown_client_hostname', "check_helo_access $hosts", 'check_etrn_access fail:x', "warn_if_reject check_etrn_access $etrn",
        "check_etrn_access $hold", 'check_etrn_access regexp:{{/^re(.*)/ REJECT ends in $$1}}', $etrn;
    $add->("etrn behind $_", { "smtpd_${_}_restrictions" => 'permit_mynetworks, reject' }, $said->(['good', 'mine'], @flush[0, 4])) for qw(client helo sender relay recipient);
    $add->("etrn now, behind $_", { %now, "smtpd_${_}_restrictions" => 'permit_mynetworks, defer_if_permit' }, $said->(['good', 'mine'], @flush[0, 4])) for qw(client helo etrn);
    $add->('etrn: HELO first', { smtpd_helo_required => 'yes' }, { also => [map { { verb => '', client => $_, commands => ['ETRN relay.test', 'EHLO x', 'ETRN relay.test', 'MAIL FROM:<s@good.test>', 'ETRN relay.test'] } } 'good', 'mine'] });
    # Routes that are answers.
    %main = (transport_maps => $in->('gone@local.test' => 'error:5.1.6 has moved to x@far.test', 'wait@relay.test' => 'retry:4.2.1 not now', 'u@box.test' => 'error:mailbox disabled',
        'far.test' => 'error:', 'good.test' => 'retry:', 'code@good.test' => 'error:4.7.0 odd class', 'ok@relay.test' => 'discard:', 'one@alias.test' => 'error:5.2.1 no', 'known@local.test' => 'error:5.2.1 off',
        'down.test' => 'error:5.4.4 down', 'root@local.test' => ':'), relay_recipient_maps => '', local_recipient_maps => '', virtual_alias_maps => $in->('known@local.test' => 'root@local.test', 'one@alias.test' => 'root@local.test'));
    my @answers = ('gone@local.test', 'wait@relay.test', 'u@box.test', 'x@far.test', 'x@good.test', 'code@good.test', 'ok@relay.test', 'one@alias.test', 'no@alias.test', 'known@local.test', 'down.test!x', 'x@down.test',
        'root@local.test', 'root', 'gone+x@local.test', 'GONE@Local.test', 'x@sub.far.test', 'x@-x.test', 'x@a..b', 'x@under_score.test');
    $add->('routes', {}, { single => 1, rcpt => \@answers, client => ['mine'], unrouted => 1 }, 'all');
    $add->('routes of senders', { smtpd_reject_unlisted_sender => 'yes' }, { sender => \@answers, rcpt => ['root@local.test'] }, 'all');
    $add->('routes, soft', { soft_bounce => 'yes' }, { single => 1, rcpt => \@answers, client => ['mine'] }, 8);
    $add->('routes, unlisted taken', { smtpd_reject_unlisted_recipient => 'no' }, { single => 1, rcpt => ['gone@local.test', 'wait@relay.test', 'x@far.test'], client => ['mine'] }, 'all');
    $add->('routes, warned', { smtpd_recipient_restrictions => 'warn_if_reject reject_unlisted_recipient', smtpd_reject_unlisted_recipient => 'no' }, { single => 1, rcpt => ['gone@local.test', 'wait@relay.test', 'x@far.test'], client => ['mine'] }, 'all');
    %main = (transport_maps => 'fail:x', local_transport => 'error:5.1.1 no mail here', relay_transport => 'retry:4.3.2 off', default_transport => 'error:5.7.1 not from here');
    $add->('routes: tables fail', {}, { single => 1, rcpt => ['root@local.test', 'ok@relay.test', 'x@far.test'], client => ['mine'] }, 'all');
    %main = (local_transport => 'error:5.1.1 no mail here', relay_transport => 'retry:4.3.2 off', default_transport => 'error:5.7.1 not from here');
    $add->('routes: of classes', {}, { single => 1, rcpt => ['root@local.test', 'no@local.test', 'ok@relay.test', 'no@relay.test', 'x@far.test', 'root', 'postmaster', 'postmaster@local.test'], client => ['mine'] }, 'all');
    %main = (default_transport => 'discard:', sender_dependent_default_transport_maps => $in->('s@good.test' => 'error:5.7.1 not for you', '<>' => 'retry:4.7.1 not now'));
    $add->('routes: of senders', {}, { also => [map { { client => 'mine', sender => $_, rcpts => ['x@far.test'] } } 's@good.test', '', 'b@good.test'] });
    %main = (relocated_maps => $in->('gone@local.test' => 'x@far.test', '@down.test' => 'somewhere else', 'root' => 'attic', 'u@box.test' => '"a b"@far.test', 'no@alias.test' => 'x@new.test', 'one@alias.test' => 'y@new.test', 'ok@relay.test' => 'z@new.test'));
    my @moved = ('gone@local.test', 'gone+x@local.test', 'GONE@LOCAL.test', 'x@down.test', 'x@sub.down.test', 'root', 'root@local.test', 'u@box.test', 'no@alias.test', 'one@alias.test', 'ok@relay.test', 'no@relay.test', 'x@far.test');
    $add->('relocated', {}, { single => 1, rcpt => \@moved, client => ['mine'] }, 'all');
    $add->('relocated senders', { smtpd_reject_unlisted_sender => 'yes' }, { single => 1, sender => \@moved, rcpt => ['known@local.test'] }, 'all');
    %main = (relocated_maps => 'fail:x');
    $add->('relocated: fails', {}, { single => 1, rcpt => ['root@local.test', 'x@far.test'], client => ['mine'] }, 'all');
    %main = (show_user_unknown_table_name => 'no');
    $add->('no table name', {}, { rcpt => 1 }, 'all');
    %main = (allow_untrusted_routing => 'yes', parent_domain_matches_subdomains => 'relay_domains', relay_domains => 'relay.test');
    $add->('untrusted routing', {}, { unrouted => 1, rcpt => \@ways }, 'all');
    for my $table (qw(relay_domains virtual_mailbox_domains)) {
        %main = ($table => 'fail:x');
        $add->("fails: $table", {}, { single => 1, rcpt => ['root@local.test', 'ok@relay.test', 'u@box.test', 'one@alias.test', 'x@far.test', 'known@local.test'] });
        $add->("other: $table fails behind an alias", {}, { also => [{ rcpts => ['out@alias.test'] }] }) if $table eq 'relay_domains';
    }
    return \@list;
}

sub configurations {
    my (%arg) = @_;
    seed(20261121);
    my $list = tables(%arg);
    for my $c (@$list) {
        $c->{cases} = [map { finished($_) } cases($c->{about}, $c->{n})];
        my %seen;
        $_->{name} = name_of($_) for @{ $c->{cases} };
        $c->{cases} = [grep { !$seen{ $_->{name} }++ } @{ $c->{cases} }];
    }
    return $list;
}

1;
